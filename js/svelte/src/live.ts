/** The connection, presence, documents and metrics. */
import type { Data } from "@lumenize/client"
import {
  CONNECTING,
  connectionStore,
  documentStore,
  joinPresence,
  metricStore,
  NO_DOCUMENT,
  NO_ROOM,
  NOBODY,
  presenceStore,
  UNMEASURED,
  UNOPENED,
  type ConnectionState,
  type DocumentState,
  type MetricState,
  type PresenceState,
} from "@lumenize/client/stores"
import type { Readable } from "svelte/store"
import { laterClient } from "./client.js"
import { follow, readable, type MaybeStore } from "./readable.js"

/** The state of the connection, and whether the server has confirmed all writes. */
export function lumenizeConnection(): Readable<ConnectionState> {
  const client = laterClient()
  return readable(CONNECTING, undefined, () => connectionStore(client()))
}

/**
 * The people in a room. With `state` (or a store of it) this client is present too, while the store has subscribers.
 * While `room` is `null` there is no subscription, and this client is not present.
 */
export function lumenizePresence(
  room: MaybeStore<string | null>,
  state?: MaybeStore<Data | null>,
): Readable<PresenceState> {
  const client = laterClient()
  return readable<PresenceState, string | null>(NOBODY, room, (name) => {
    if (name === null) return NO_ROOM
    const people = presenceStore(client(), name)
    if (state === undefined) return people
    return {
      getSnapshot: people.getSnapshot,
      subscribe(changed) {
        let stay: ReturnType<typeof joinPresence> | undefined
        const stop = follow(state, (next) => {
          if (next === null) {
            stay?.leave()
            stay = undefined
          } else if (stay === undefined) stay = joinPresence(client(), name, next)
          else stay.update(next)
          return () => {}
        })
        const end = people.subscribe(changed)
        return () => {
          stop()
          stay?.leave()
          end()
        }
      },
    }
  })
}

/** A Yjs document for an editor: open while the store has subscribers and `id` is not `null`. */
export function lumenizeDocument(id: MaybeStore<string | null>): Readable<DocumentState> {
  const client = laterClient()
  return readable<DocumentState, string | null>(UNOPENED, id, (name) =>
    name === null ? NO_DOCUMENT : documentStore(client(), name),
  )
}

/** A number that the server sends after each change. */
export function lumenizeMetric(metric: "active_users"): Readable<MetricState> {
  const client = laterClient()
  return readable(UNMEASURED, undefined, () => metricStore(client(), metric))
}
