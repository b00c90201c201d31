/** The page's client. All examples come back quickly: they are shown while servers are stopped on purpose. */
import { LumenizeClient, type ClientOptions } from "@lumenize/client"

export function connect<C>(options: ClientOptions = {}): LumenizeClient<C> {
  const client = new LumenizeClient<C>({
    ...options,
    websocket: { initialDelay: 250, maxDelay: 3000, heartbeatInterval: 10_000 },
  })
  client.connect().catch((error: Error) => {
    document.body.dataset["refused"] = error.message
  })
  return client
}

/** What the page says about the connection. */
export function words({ state, pending }: { state: "connecting" | "connected" | "offline"; pending: number }): string {
  const changes = `${pending} ${pending === 1 ? "change" : "changes"}`
  if (state === "offline") return pending === 0 ? "Offline – reconnecting…" : `Offline – ${changes} waiting`
  if (state === "connecting") return "Connecting…"
  return pending === 0 ? "Saved" : "Saving…"
}
