import type { LumenizeClient } from "@lumenize/client"
import { lumenize } from "@lumenize/vue"
import { createSSRApp } from "vue"
import { renderToString } from "vue/server-renderer"

import { TestPage, type Widget } from "../src/scene"
import Scene from "../src/Scene.vue"

export const render = (client: LumenizeClient, scene: Widget[]): Promise<string> =>
  renderToString(createSSRApp(Scene, { page: new TestPage(client, scene) }).use(lumenize, client))
