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
  type Store,
} from "@lumenize/client/stores"
import { useEffect, useMemo, useRef, useSyncExternalStore } from "react"
import { useLumenizeClient } from "./client.js"

function useStore<T>(store: Store<T>, server: T): T {
  return useSyncExternalStore(store.subscribe, store.getSnapshot, () => server)
}

/** Whether there is a connection, and whether the server has confirmed all that was written. */
export function useConnection(): ConnectionState {
  const client = useLumenizeClient()
  return useStore(
    useMemo(() => connectionStore(client), [client]),
    CONNECTING,
  )
}

/**
 * Who is in a room. With `state` this client is there too, as long as the component is mounted.
 *
 * While `room` is `null` nobody is asked for, and this client is not seen.
 */
export function usePresence(room: string | null, state?: Data | null): PresenceState {
  const client = useLumenizeClient()
  const text = state && room !== null ? JSON.stringify(state) : null
  const present = text !== null
  const stay = useRef<ReturnType<typeof joinPresence> | null>(null)
  useEffect(() => {
    if (!present || room === null) return
    const joined = (stay.current = joinPresence(client, room, JSON.parse(text) as Data))
    return () => {
      stay.current = null
      joined.leave()
    }
    // a state that changes is told by the next effect, without leaving
  }, [client, room, present])
  useEffect(() => {
    if (text !== null) stay.current?.update(JSON.parse(text) as Data)
  }, [client, room, text])
  const store = useMemo(() => (room === null ? NO_ROOM : presenceStore(client, room)), [client, room])
  return useStore(store, room === null ? NO_ROOM.getSnapshot() : NOBODY)
}

/** A Yjs document for an editor: open while a component that wants it is mounted, and `id` is not `null`. */
export function useDocument(id: string | null): DocumentState {
  const client = useLumenizeClient()
  return useStore(
    useMemo(() => (id === null ? NO_DOCUMENT : documentStore(client, id)), [client, id]),
    UNOPENED,
  )
}

/** A number that the server tells whenever it changes; `null` before the first time. */
export function useMetric(metric: "active_users"): number | null {
  const client = useLumenizeClient()
  return useStore(
    useMemo(() => metricStore(client, metric), [client, metric]),
    null,
  )
}
