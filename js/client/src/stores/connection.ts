/** The connection, as an external store. */
import type { Client } from "../client.js"
import { CORE } from "../core.js"
import type { Store } from "../shared-store.js"
import { frozen } from "../frozen.js"

export interface ConnectionState {
  /** `connecting` until the server first accepts this client; `offline` while there is no connection after that. */
  state: "connecting" | "connected" | "offline"
  /** The number of unconfirmed writes, and of documents with unsaved edits. */
  pending: number
  /** Whether nothing is pending. */
  saved: boolean
}

export const CONNECTING: ConnectionState = frozen({ state: "connecting", pending: 0, saved: true })

/** The state of the connection, and whether everything is saved. */
export function connectionStore(client: Client): Store<ConnectionState> {
  let last = CONNECTING
  return {
    getSnapshot() {
      const state = client.isConnected() ? "connected" : client[CORE].welcome === null && client[CORE].over === null ? "connecting" : "offline"
      const { pending } = client
      if (state !== last.state || pending !== last.pending) last = frozen({ state, pending, saved: pending === 0 })
      return last
    },
    subscribe(changed) {
      const ends = [
        client.onConnect(changed),
        client.onReconnect(changed),
        client.onDisconnect(changed),
        client[CORE].overChanged.add(changed),
        client.onPending(changed),
      ]
      return () => ends.forEach((end) => end())
    },
  }
}
