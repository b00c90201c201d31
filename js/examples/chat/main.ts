import "../shared/base.css"
import "./style.css"

import { setClient } from "@lumenize/svelte"
import { mount } from "svelte"

import { connect } from "../shared/client"
import Page from "./Page.svelte"

setClient(connect())
mount(Page, { target: document.getElementById("app") as HTMLElement })
