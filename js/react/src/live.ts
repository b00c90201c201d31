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

export interface PresenceOptions {
  /** While it is false nobody is asked for, and this client is not seen. */
  enabled?: boolean
}

/** Who is in a room. With `state` this client is there too, as long as the component is mounted. */
export function usePresence(room: string, state?: Data, options: PresenceOptions = {}): PresenceState {
  const client = useLumenizeClient()
  const { enabled = true } = options
  const text = state === undefined || !enabled ? undefined : JSON.stringify(state)
  const present = text !== undefined
  const stay = useRef<ReturnType<typeof joinPresence> | null>(null)
  useEffect(() => {
    if (!present) return
    const joined = (stay.current = joinPresence(client, room, JSON.parse(text) as Data))
    return () => {
      stay.current = null
      joined.leave()
    }
    // a state that changes is told by the next effect, without leaving
  }, [client, room, present])
  useEffect(() => {
    if (text !== undefined) stay.current?.update(JSON.parse(text) as Data)
  }, [client, room, text])
  const store = useMemo(() => (enabled ? presenceStore(client, room) : empty), [client, room, enabled])
  return useStore(store, NOBODY)
}

const ALONE: PresenceState = { ...NOBODY, loading: false }
const empty: Store<PresenceState> = { getSnapshot: () => ALONE, subscribe: () => () => {} }

/** A Yjs document for an editor: open while a component that wants it is mounted. */
export function useDocument(id: string): DocumentState {
  const client = useLumenizeClient()
  return useStore(
    useMemo(() => documentStore(client, id), [client, id]),
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
