import { LumenizeClient } from "@lumenize/client"
import { LumenizeProvider, useConnection, useDocument, useLumenizeSubscription, useMetric, usePresence } from "@lumenize/react"
import { createElement } from "react"
import { renderToString } from "react-dom/server"

function Page() {
  const { data, loading, error } = useLumenizeSubscription("tasks", { where: { status: "open" } })
  const { people } = usePresence("room", { here: true })
  const { synced } = useDocument("d")
  return createElement("p", null, JSON.stringify([data, loading, error, people, synced, useMetric("active_users"), useConnection().state]))
}

export const render = (client: LumenizeClient): string =>
  renderToString(createElement(LumenizeProvider, { client }, createElement(Page)))
