/** The connection, presence, documents, numbers. */
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
  UNOPENED,
  type ConnectionState,
  type DocumentState,
  type PresenceState,
} from "@lumenize/client/stores"
import { toValue, watch, type MaybeRefOrGetter, type ShallowRef } from "vue"
import { useLumenizeClient } from "./client.js"
import { follow, members, whileShown, type Refs } from "./refs.js"

/** Whether there is a connection, and whether the server has confirmed all that was written. */
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
 * Who is in a room. With `state` this client is there too, as long as the component is mounted.
 *
 * While `room` is `null` nobody is asked for, and this client is not seen.
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
      () => [toValue(room), JSON.stringify(toValue(state) ?? null)] as const,
      ([name, text]) => {
        const said = JSON.parse(text) as Data | null
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

/** A Yjs document for an editor: open while a component that wants it is mounted, and `id` is not `null`. */
export function useDocument(id: MaybeRefOrGetter<string | null>): Refs<DocumentState> {
  const client = useLumenizeClient()
  const state = follow<DocumentState, string | null>(
    UNOPENED,
    () => toValue(id),
    (name) => (name === null ? NO_DOCUMENT : documentStore(client, name)),
  )
  return members(state, "doc", "awareness", "state", "synced", "error")
}

/** A number that the server tells whenever it changes; `null` before the first time. */
export function useMetric(metric: "active_users"): Readonly<ShallowRef<number | null>> {
  const client = useLumenizeClient()
  return follow<number | null, null>(
    null,
    () => null,
    () => metricStore(client, metric),
  )
}
