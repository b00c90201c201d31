import type { LumenizeClient } from "@lumenize/client"
import { createElement } from "react"
import { renderToString } from "react-dom/server"

import { App } from "../src/App"
import { TestPage, type Widget } from "../src/scene"

export const render = (client: LumenizeClient, scene: Widget[]): string =>
  renderToString(createElement(App, { page: new TestPage(client, scene) }))
