import { hydrate, mount } from "svelte"

import { createPage } from "./scene"
import Scene from "./Scene.svelte"

void createPage().then((page) => {
  const target = document.getElementById("app") as HTMLElement
  const begin = target.hasChildNodes() ? hydrate : mount
  begin(Scene, { target, props: { page } })
})
