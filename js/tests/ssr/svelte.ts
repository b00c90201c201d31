import type { LumenizeClient } from "@lumenize/client"
import { render as renderPage } from "svelte/server"

import Page from "./Page.svelte"

export const render = (client: LumenizeClient): string => renderPage(Page, { props: { client } }).body
