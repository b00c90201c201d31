import "../shared/base.css"
import "./style.css"

import { LumenizeProvider } from "@lumenize/react"
import { StrictMode } from "react"
import { createRoot } from "react-dom/client"

import { connect } from "../shared/client"
import { myself } from "../shared/me"
import { seed } from "../shared/seed"
import { Notices } from "./Notices"
import { Page } from "./Page"
import { EXAMPLES } from "./tasks"

const me = myself()
const client = connect(me)
void seed(client, "tasks", EXAMPLES)

createRoot(document.getElementById("app") as HTMLElement).render(
  <StrictMode>
    <LumenizeProvider client={client}>
      <Notices>
        <Page first={me} />
      </Notices>
    </LumenizeProvider>
  </StrictMode>,
)
