import { setClient } from "@lumenize/svelte"
import TaskList from "page:TaskList.svelte"
import { mount } from "svelte"

import { client } from "./parts/client"

setClient(client)
mount(TaskList, { target: document.getElementById("app") as HTMLElement })
