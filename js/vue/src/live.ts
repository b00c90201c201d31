/** The connection, presence, documents, numbers. */
import type { Data } from "@lumenize/client"
import {
  CONNECTING,
  connectionStore,
  documentStore,
  joinPresence,
  metricStore,
  NOBODY,
  presenceStore,
  UNOPENED,
  type ConnectionState,
  type DocumentState,
  type PresenceState,
} from "@lumenize/client/stores"
import { toValue, watch, type ComputedRef, type MaybeRefOrGetter, type ShallowRef } from "vue"
import { useLumenizeClient } from "./client.js"
import { follow, members, whenGone } from "./refs.js"

type Refs<T> = { [Name in keyof T]: ComputedRef<T[Name]> }

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

/** Who is in a room. With `state` this client is there too, as long as the component is mounted. */
export function usePresence(room: MaybeRefOrGetter<string>, state?: MaybeRefOrGetter<Data>): Refs<PresenceState> {
  const client = useLumenizeClient()
  const people = follow(
    NOBODY,
    () => toValue(room),
    (name) => presenceStore(client, name),
  )
  if (state !== undefined && typeof window !== "undefined") {
    let stay: ReturnType<typeof joinPresence> | undefined
    let where: string | undefined
    watch(
      () => [toValue(room), JSON.stringify(toValue(state))] as const,
      ([name, text]) => {
        const next = JSON.parse(text) as Data
        if (name === where) return stay?.update(next)
        stay?.leave()
        where = name
        stay = joinPresence(client, name, next)
      },
      { immediate: true },
    )
    whenGone(() => stay?.leave())
  }
  return members(people, "people", "count", "loading", "error")
}

/** A Yjs document for an editor: open while a component that wants it is mounted. */
export function useDocument(id: MaybeRefOrGetter<string>): Refs<DocumentState> {
  const client = useLumenizeClient()
  const state = follow(
    UNOPENED,
    () => toValue(id),
    (name) => documentStore(client, name),
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
