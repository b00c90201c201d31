import "../shared/base.css"
import "./style.css"

import { lumenize } from "@lumenize/vue"
import { createApp } from "vue"

import { connect } from "../shared/client"
import Dashboard from "./Dashboard.vue"

createApp(Dashboard).use(lumenize, connect()).mount("#app")
