import {
  LumenizeProvider,
  useConnection,
  useDocument,
  useLumenizeEvent,
  useLumenizeSubscription,
  useMetric,
  usePresence,
  useSystemEvent,
} from "@lumenize/react"
import type { Data } from "@lumenize/client"
import { StrictMode, useEffect, useState, type ReactElement } from "react"
import { createRoot } from "react-dom/client"

import { allowed, createPage, told, toldDocument, type Widget } from "./scene"

type Of<K extends Widget["kind"]> = Extract<Widget, { kind: K }>

const Told = ({ of, text }: { of: string; text: string }): ReactElement => <pre id={of}>{text}</pre>

function Query({ of }: { of: Of<"query"> }): ReactElement {
  const { key, collection, query, enabled, fields, conditional } = of
  // made anew in each render, as components do
  const state = useLumenizeSubscription(
    collection,
    { ...query, ...(conditional && { condition: () => allowed() }) },
    { ...(enabled !== undefined && { enabled }), ...(fields && { fields: [...fields] }) },
  )
  return <Told of={key} text={told(key, state)} />
}

function Connection({ of }: { of: Of<"connection"> }): ReactElement {
  return <Told of={of.key} text={told(of.key, useConnection())} />
}

function Presence({ of }: { of: Of<"presence"> }): ReactElement {
  return <Told of={of.key} text={told(of.key, usePresence(of.room, of.state && { ...of.state }))} />
}

function Document({ of }: { of: Of<"document"> }): ReactElement {
  return <Told of={of.key} text={toldDocument(of.key, of.id, useDocument(of.id))} />
}

function Metric({ of }: { of: Of<"metric"> }): ReactElement {
  return <Told of={of.key} text={told(of.key, useMetric("active_users"))} />
}

function Event({ of }: { of: Of<"event"> }): ReactElement {
  const [heard, setHeard] = useState<Data[]>([])
  const emit = useLumenizeEvent(of.type, (event) => setHeard((before) => [...before, event]), { channels: [...of.channels] })
  useEffect(() => {
    window.page.emits[of.type] = emit
  })
  return <Told of={of.key} text={told(of.key, heard)} />
}

function System({ of }: { of: Of<"system"> }): ReactElement {
  const [heard, setHeard] = useState<Data[]>([])
  useSystemEvent(of.type, (event) => setHeard((before) => [...before, event]))
  return <Told of={of.key} text={told(of.key, heard)} />
}

function Part({ of }: { of: Widget }): ReactElement {
  switch (of.kind) {
    case "query":
      return <Query of={of} />
    case "connection":
      return <Connection of={of} />
    case "presence":
      return <Presence of={of} />
    case "document":
      return <Document of={of} />
    case "metric":
      return <Metric of={of} />
    case "event":
      return <Event of={of} />
    case "system":
      return <System of={of} />
  }
}

const page = createPage()

function Scene(): ReactElement {
  const [scene, setScene] = useState<Widget[]>([])
  useEffect(() => {
    page.show = setScene
  }, [])
  return (
    <>
      {scene.map((part) => (
        <Part key={part.key} of={part} />
      ))}
    </>
  )
}

createRoot(document.getElementById("app") as HTMLElement).render(
  <StrictMode>
    <LumenizeProvider client={page.client}>
      <Scene />
    </LumenizeProvider>
  </StrictMode>,
)
