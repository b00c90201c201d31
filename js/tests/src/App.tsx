import {
  LumenizeProvider,
  setClient,
  useConnection,
  useDocument,
  useEntityEvent,
  useLumenizeAggregate,
  useLumenizeEvent,
  useLumenizePages,
  useLumenizeSubscription,
  useMetric,
  usePresence,
  useSystemEvent,
} from "@lumenize/react"
import type { Data, Entity } from "@lumenize/client"
import { Activity, memo, StrictMode, useEffect, useState, type ReactElement } from "react"

import { allowed, refusal, told, toldDocument, toldPages, type TestPage, type Widget } from "./scene"

type Of<K extends Widget["kind"]> = Extract<Widget, { kind: K }>

const Told = ({ of, text }: { of: string; text: string }): ReactElement => <pre id={of}>{text}</pre>

const Row = memo(({ of, row }: { of: string; row: Entity }): ReactElement => <i>{told(`${of}:${row.id}`, row)}</i>)

function Query({ of }: { of: Of<"query"> }): ReactElement {
  const { key, collection, query, enabled, fields, conditional, each } = of
  // made anew in each render, as components do
  const state = useLumenizeSubscription(
    collection,
    { ...query, ...(conditional && { condition: () => allowed() }) },
    { ...(enabled !== undefined && { enabled }), ...(fields && { fields: [...fields] }) },
  )
  return (
    <>
      <Told of={key} text={told(key, state)} />
      {each && state.data.map((row) => <Row key={row.id} of={key} row={row} />)}
    </>
  )
}

function Pages({ of }: { of: Of<"pages"> }): ReactElement {
  const { key, collection, query, pageSize, enabled = true } = of
  return <Told of={key} text={toldPages(key, useLumenizePages(collection, { ...query }, { pageSize, enabled }))} />
}

function Aggregate({ of }: { of: Of<"aggregate"> }): ReactElement {
  const { key, collection, query, enabled = true } = of
  return <Told of={key} text={told(key, useLumenizeAggregate(collection, { ...query }, { enabled }))} />
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

function useHeard(): [Data[], (what: Data) => void] {
  const [heard, setHeard] = useState<Data[]>([])
  return [heard, (what) => setHeard((before) => [...before, what])]
}

function Event({ of }: { of: Of<"event"> }): ReactElement {
  const [heard, hear] = useHeard()
  const emit = useLumenizeEvent(of.type, hear, { channels: [...of.channels], onError: (error) => hear(refusal(error)) })
  useEffect(() => {
    window.page.emits[of.type] = emit
  })
  return <Told of={of.key} text={told(of.key, heard)} />
}

function EntityEvents({ of }: { of: Of<"entity"> }): ReactElement {
  const [heard, hear] = useHeard()
  const { key, collection, id, fields } = of
  useEntityEvent(collection, id, ({ type, id, data }) => hear({ type, id, data }), {
    ...(fields && { fields: [...fields] }),
    onError: (error) => hear(refusal(error)),
  })
  return <Told of={key} text={told(key, heard)} />
}

function System({ of }: { of: Of<"system"> }): ReactElement {
  const [heard, hear] = useHeard()
  useSystemEvent(of.type, hear)
  return <Told of={of.key} text={told(of.key, heard)} />
}

function Part({ of }: { of: Widget }): ReactElement {
  switch (of.kind) {
    case "query":
      return <Query of={of} />
    case "pages":
      return <Pages of={of} />
    case "aggregate":
      return <Aggregate of={of} />
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
    case "entity":
      return <EntityEvents of={of} />
    case "system":
      return <System of={of} />
  }
}

export function App({ page }: { page: TestPage }): ReactElement {
  const [{ scene, client, turn, hidden }, draw] = useState(page.stage)
  useEffect(() => {
    page.draw = draw
    draw(page.stage)
  }, [page])
  const parts = scene.map((part) => <Part key={part.key} of={part} />)
  const shown = (
    <Activity key={turn} mode={hidden ? "hidden" : "visible"}>
      {parts}
    </Activity>
  )
  if (page.mode === "set") setClient(page.client)
  return (
    <StrictMode>{page.mode === "provided" ? <LumenizeProvider client={client}>{shown}</LumenizeProvider> : shown}</StrictMode>
  )
}
