import "../shared/base.css"
import "./style.css"

import { LumenizeProvider } from "@lumenize/react"
import { StrictMode } from "react"
import { createRoot } from "react-dom/client"

import { connect } from "../shared/client"
import { Page } from "./Page"

const client = connect()

createRoot(document.getElementById("app") as HTMLElement).render(
  <StrictMode>
    <LumenizeProvider client={client}>
      <Page />
    </LumenizeProvider>
  </StrictMode>,
)
