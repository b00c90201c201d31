import "../shared/base.css"
import "./style.css"

import { lumenize } from "@lumenize/vue"
import { createApp } from "vue"

import { connect } from "../shared/client"
import { myself } from "../shared/me"
import { seed } from "../shared/seed"
import Dashboard from "./Dashboard.vue"
import { examples } from "./orders"

const client = connect(myself())
void seed(client, "orders", examples(Date.now()))
createApp(Dashboard).use(lumenize, client).mount("#app")
