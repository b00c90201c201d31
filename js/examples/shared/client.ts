/** The page's client. All examples come back quickly: they are shown while servers are stopped on purpose. */
import { LumenizeClient } from "@lumenize/client"

import { myToken, type Me } from "./me"

/** A client for somebody. Where the server asks for no credential, the name is all that is known of who writes. */
export function connect<C>({ userId }: Me): LumenizeClient<C> {
  const token = myToken()
  const client = new LumenizeClient<C>({
    ...(token === null ? { userId } : { token }),
    websocket: { initialDelay: 250, maxDelay: 3000, heartbeatInterval: 10_000 },
  })
  client.onError((error) => {
    if (error.code === "AUTHENTICATION_FAILED") showRefusal(error.message)
  })
  client.connect().catch(() => {}) // told above, and it goes on trying for everything else
  return client
}

/**
 * Write under another name, once all is saved that was written under the one before: what one user has written is not
 * sent as another's. `documents` resolves once those that are open are saved.
 */
export async function reconnectAs(client: LumenizeClient, { userId }: Me, documents = () => Promise.resolve()): Promise<void> {
  do {
    await client.saved()
    await documents()
  } while (client.pending > 0)
  await client.disconnect()
  await client.connect({ userId }).catch(() => {})
}

interface Connection {
  state: "connecting" | "connected" | "offline"
  pending: number
}

/** How it stands, as `data-state` of what says so. */
export function kindOf({ state, pending }: Connection): "saved" | "busy" | "offline" {
  return state === "offline" ? "offline" : state === "connected" && pending === 0 ? "saved" : "busy"
}

/** What the page says about the connection. */
export function words({ state, pending }: Connection): string {
  if (state === "offline") return pending === 0 ? "Offline – reconnecting…" : `Offline – ${pending} waiting`
  if (state === "connecting") return "Connecting…"
  return pending === 0 ? "Saved" : "Saving…"
}

function showRefusal(reason: string): void {
  if (document.querySelector(".refused")) return
  const notice = Object.assign(document.createElement("div"), { className: "refused card", role: "alert" })
  const title = Object.assign(document.createElement("strong"), { textContent: "This server asks for a token" })
  const text = Object.assign(document.createElement("p"), { textContent: `It said: ${reason}.` })
  const link = Object.assign(document.createElement("a"), { href: "../../", textContent: "Sign in on the demo page" })
  const hint = document.createElement("p")
  hint.append(link, ", then come back to this example in the same tab.")
  notice.append(title, text, hint)
  document.body.append(notice)
}
