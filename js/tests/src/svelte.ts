import { mount } from "svelte"

import { createPage } from "./scene"
import Scene from "./Scene.svelte"

mount(Scene, { target: document.getElementById("app") as HTMLElement, props: { page: createPage() } })
