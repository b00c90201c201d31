import { createRoot, hydrateRoot } from "react-dom/client"

import { App } from "./App"
import { createPage } from "./scene"

void createPage().then((page) => {
  const root = document.getElementById("app") as HTMLElement
  const app = <App page={page} />
  if (root.hasChildNodes()) hydrateRoot(root, app)
  else createRoot(root).render(app)
})
