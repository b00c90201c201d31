import type { LumenizeClient } from "@lumenize/client"
import { render as renderPage } from "svelte/server"

import { TestPage, type Widget } from "../src/scene"
import Scene from "../src/Scene.svelte"

export const render = (client: LumenizeClient, scene: Widget[]): string =>
  renderPage(Scene, { props: { page: new TestPage(client, scene) } }).body
