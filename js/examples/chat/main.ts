import "../shared/base.css"
import "./style.css"

import { setClient } from "@lumenize/svelte"
import { mount } from "svelte"

import { connect } from "../shared/client"
import { myself } from "../shared/me"
import { seed } from "../shared/seed"
import { examples } from "./channels"
import Page from "./Page.svelte"

const first = myself()
const client = connect(first)
void seed(client, "messages", examples())
setClient(client)
mount(Page, { target: document.getElementById("app") as HTMLElement, props: { first } })
