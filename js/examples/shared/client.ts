/** The page's client. All examples reconnect quickly, because demonstrations stop the server on purpose. */
import { LumenizeClient } from "@lumenize/client"

import { myToken, type Me } from "./me"

/** A client for a user. If the server requires no credential, it knows only the name of a writer. */
export function connect<C>({ userId }: Me): LumenizeClient<C> {
  const token = myToken()
  const client = new LumenizeClient<C>({
    ...(token === null ? { userId } : { token }),
    websocket: { initialDelay: 250, maxDelay: 3000, heartbeatInterval: 10_000 },
  })
  client.onError((error) => {
    if (error.code === "AUTHENTICATION_FAILED") showRefusal(error.message)
  })
  client.connect().catch(() => {}) // shown above; the client retries temporary errors
  return client
}

/**
 * Switch to another user name once all earlier writes are saved, because the client does not send one user's writes as
 * another's. `documents` resolves once the open documents are saved.
 */
export async function reconnectAs(client: LumenizeClient, { userId }: Me, documents = () => Promise.resolve()): Promise<void> {
  try {
    do {
      await client.saved()
      await documents()
    } while (client.pending > 0)
  } catch {
    // the client has stopped connecting, or an edit was refused: the next session rejects what is left
  }
  await client.disconnect()
  await client.connect({ userId }).catch(() => {})
}

interface Connection {
  state: "connecting" | "connected" | "offline"
  pending: number
}

/** The state of the connection, as `data-state` of its indicator. */
export function kindOf({ state, pending }: Connection): "saved" | "busy" | "offline" {
  return state === "offline" ? "offline" : state === "connected" && pending === 0 ? "saved" : "busy"
}

/** The text of the connection indicator. */
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
