import { lumenize } from "@lumenize/vue"
import TaskList from "page:TaskList.vue"
import { createApp } from "vue"

import { client } from "./parts/client"

createApp(TaskList).use(lumenize, client).mount("#app")
