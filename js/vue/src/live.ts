/** The connection, presence, documents and metrics. */
import type { Data } from "@lumenize/client"
import {
  CONNECTING,
  connectionStore,
  documentStore,
  joinPresence,
  keyOf,
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
import { toValue, watch, type MaybeRefOrGetter } from "vue"
import { useLumenizeClient } from "./client.js"
import { follow, members, whileShown, type Refs } from "./refs.js"

/** The state of the connection, and whether the server has confirmed all writes. */
export function useConnection(): Refs<ConnectionState> {
  const client = useLumenizeClient()
  const state = follow(
    CONNECTING,
    () => null,
    () => connectionStore(client),
  )
  return members(state, "state", "pending", "saved")
}

/**
 * The people in a room. With `state` this client is present too, while the component is mounted.
 *
 * While `room` is `null` there is no subscription, and this client is not present.
 */
export function usePresence(
  room: MaybeRefOrGetter<string | null>,
  state?: MaybeRefOrGetter<Data | null>,
): Refs<PresenceState> {
  const client = useLumenizeClient()
  const people = follow<PresenceState, string | null>(
    NOBODY,
    () => toValue(room),
    (name) => (name === null ? NO_ROOM : presenceStore(client, name)),
  )
  whileShown(() => {
    let stay: ReturnType<typeof joinPresence> | undefined
    let where: string | null = null
    const stop = watch(
      () => [toValue(room), keyOf(toValue(state) ?? null)] as const,
      ([name]) => {
        const said = toValue(state) ?? null
        if (stay !== undefined && name === where && said !== null) return stay.update(said)
        stay?.leave()
        where = name
        stay = name === null || said === null ? undefined : joinPresence(client, name, said)
      },
      { immediate: true },
    )
    return () => {
      stop()
      stay?.leave()
    }
  })
  return members(people, "people", "count", "loading", "error")
}

/** A Yjs document for an editor: open while a component that uses it is mounted and `id` is not `null`. */
export function useDocument(id: MaybeRefOrGetter<string | null>): Refs<DocumentState> {
  const client = useLumenizeClient()
  const state = follow<DocumentState, string | null>(
    UNOPENED,
    () => toValue(id),
    (name) => (name === null ? NO_DOCUMENT : documentStore(client, name)),
  )
  return members(state, "doc", "awareness", "state", "synced", "error")
}

/** A number that the server sends after each change. */
export function useMetric(metric: "active_users"): Refs<MetricState> {
  const client = useLumenizeClient()
  const state = follow(
    UNMEASURED,
    () => null,
    () => metricStore(client, metric),
  )
  return members(state, "value", "loading", "error")
}
