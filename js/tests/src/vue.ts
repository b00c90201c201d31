import { lumenize, setClient } from "@lumenize/vue"
import { createApp, createSSRApp } from "vue"

import { createPage } from "./scene"
import Scene from "./Scene.vue"

void createPage().then((page) => {
  const root = document.getElementById("app") as HTMLElement
  const app = (root.hasChildNodes() ? createSSRApp : createApp)(Scene, { page })
  if (page.mode === "set") setClient(page.client)
  if (page.mode === "provided") app.use(lumenize, page.client)
  app.mount(root)
})
