import { lumenize } from "@lumenize/vue"
import { createApp } from "vue"

import { createPage } from "./scene"
import Scene from "./Scene.vue"

createApp(Scene).use(lumenize, createPage().client).mount("#app")
