import { LumenizeProvider } from "@lumenize/react"
import { TaskList } from "page:TaskList.jsx"
import { createRoot } from "react-dom/client"

import { client } from "./parts/client"

createRoot(document.getElementById("app") as HTMLElement).render(
  <LumenizeProvider client={client}>
    <TaskList userId="user_123" />
  </LumenizeProvider>,
)
