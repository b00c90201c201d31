"use client"
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
  type Store,
} from "@lumenize/client/stores"
import { useEffect, useMemo, useRef, useSyncExternalStore } from "react"
import { useLumenizeClient } from "./client.js"

function useStore<T>(store: Store<T>, server: T): T {
  return useSyncExternalStore(store.subscribe, store.getSnapshot, () => server)
}

/** The state of the connection, and whether the server has confirmed all writes. */
export function useConnection(): ConnectionState {
  const client = useLumenizeClient()
  return useStore(
    useMemo(() => connectionStore(client), [client]),
    CONNECTING,
  )
}

/**
 * The people in a room. With `state` this client is present too, while the component is mounted.
 *
 * While `room` is `null` there is no subscription, and this client is not present.
 */
export function usePresence(room: string | null, state?: Data | null): PresenceState {
  const client = useLumenizeClient()
  const text = state && room !== null ? keyOf(state) : null
  const present = text !== null
  const stay = useRef<ReturnType<typeof joinPresence> | null>(null)
  useEffect(() => {
    if (!state || room === null) return
    const joined = (stay.current = joinPresence(client, room, state))
    return () => {
      stay.current = null
      joined.leave()
    }
    // the next effect sends a changed state, without leaving
  }, [client, room, present])
  useEffect(() => {
    if (state) stay.current?.update(state)
  }, [client, room, text])
  const store = useMemo(() => (room === null ? NO_ROOM : presenceStore(client, room)), [client, room])
  return useStore(store, room === null ? NO_ROOM.getSnapshot() : NOBODY)
}

/** A Yjs document for an editor: open while a component that uses it is mounted and `id` is not `null`. */
export function useDocument(id: string | null): DocumentState {
  const client = useLumenizeClient()
  return useStore(
    useMemo(() => (id === null ? NO_DOCUMENT : documentStore(client, id)), [client, id]),
    UNOPENED,
  )
}

/** A number that the server sends after each change. */
export function useMetric(metric: "active_users"): MetricState {
  const client = useLumenizeClient()
  return useStore(
    useMemo(() => metricStore(client, metric), [client, metric]),
    UNMEASURED,
  )
}
