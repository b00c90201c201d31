/** What else a page shows, as external stores: the connection, who is in a room, a document, a number. */
import type { Client } from "./client.js"
import type { OpenDocument, SaveState } from "./documents.js"
import { LumenizeError } from "./errors.js"
import type { Data, Person, Unsubscribe } from "./types.js"

/** A value that changes: read with `getSnapshot`, be told of changes with `subscribe`. */
export interface Store<T> {
  /** The same object until something changes. */
  getSnapshot(): T
  subscribe(changed: () => void): Unsubscribe
}

export interface ConnectionState {
  /** `connecting` until the server lets us in for the first time; `offline` while there is no connection after that. */
  state: "connecting" | "connected" | "offline"
  /** Writes that the server has not confirmed. */
  pending: number
  /** Whether the server has confirmed every write. */
  saved: boolean
}

export interface PresenceState {
  /** Those who are there; of a crowded room a sample. */
  people: readonly Person[]
  /** How many are there. */
  count: number
  loading: boolean
  error: LumenizeError | null
}

export interface DocumentState {
  /** `null` until the document is open. */
  doc: OpenDocument["doc"] | null
  awareness: OpenDocument["awareness"] | null
  state: SaveState
  /** Whether what the server has is here. */
  synced: boolean
  error: LumenizeError | null
}

export const CONNECTING: ConnectionState = { state: "connecting", pending: 0, saved: true }
export const NOBODY: PresenceState = { people: [], count: 0, loading: true, error: null }
export const UNOPENED: DocumentState = { doc: null, awareness: null, state: "saving", synced: false, error: null }

const kept = new WeakMap<Client, Map<string, Store<never>>>()

/** One store for all who ask for the same of one client; forgotten when nobody is subscribed any more. */
function shared<T>(client: Client, key: string, first: T, start: (set: (next: T) => void) => () => void): Store<T> {
  let known = kept.get(client)
  if (known === undefined) kept.set(client, (known = new Map()))
  const all = known
  const existing = all.get(key)
  if (existing !== undefined) return existing as unknown as Store<T>
  let state = first
  let stop: (() => void) | null = null
  const listeners = new Set<() => void>()
  const store: Store<T> = {
    getSnapshot: () => state,
    subscribe(changed) {
      const listener = (): void => changed()
      listeners.add(listener)
      all.set(key, store as unknown as Store<never>)
      stop ??= start((next) => {
        state = next
        for (const each of [...listeners]) each()
      })
      return () => {
        if (!listeners.delete(listener)) return
        // not at once: who unmounts and mounts again keeps what there is
        queueMicrotask(() => {
          if (listeners.size > 0 || stop === null) return
          stop()
          stop = null
          state = first
          if (all.get(key) === (store as unknown)) all.delete(key)
        })
      }
    },
  }
  all.set(key, store as unknown as Store<never>)
  return store
}

const connected = new WeakSet<Client>()

/** Whether there is a connection, and whether everything is saved. */
export function connectionStore(client: Client): Store<ConnectionState> {
  let last = CONNECTING
  const read = (): ConnectionState => {
    if (client.isConnected()) connected.add(client)
    const state = client.isConnected() ? "connected" : connected.has(client) ? "offline" : "connecting"
    const { pending } = client
    if (state !== last.state || pending !== last.pending) last = { state, pending, saved: pending === 0 }
    return last
  }
  return {
    getSnapshot: read,
    subscribe(changed) {
      const ends = [
        client.onConnect(changed),
        client.onReconnect(changed),
        client.onDisconnect(changed),
        client.onPending(changed),
      ]
      return () => ends.forEach((end) => end())
    },
  }
}

/** Who is in a room. */
export function presenceStore(client: Client, room: string): Store<PresenceState> {
  return shared(client, `presence ${room}`, NOBODY, (set) => {
    let state = NOBODY
    return client.presence.subscribe(
      room,
      (people, count) => set((state = { people, count, loading: false, error: null })),
      { onError: (error) => set((state = { ...state, loading: false, error })) },
    )
  })
}

/** A number that the server tells whenever it changes; `null` before the first time. */
export function metricStore(client: Client, metric: "active_users"): Store<number | null> {
  return shared<number | null>(client, `metric ${metric}`, null, (set) => client.analytics.subscribe(metric, set))
}

interface Stay {
  states: Map<object, Data>
  said: string | null
}
const stays = new WeakMap<Client, Map<string, Stay>>()

/** Be in a room until `leave`. Several may be in the same room: what they say is one state, the newest counts. */
export function joinPresence(
  client: Client,
  room: string,
  state: Data = {},
): { update(state: Data): void; leave(): void } {
  let rooms = stays.get(client)
  if (rooms === undefined) stays.set(client, (rooms = new Map()))
  let stay = rooms.get(room)
  if (stay === undefined) rooms.set(room, (stay = { states: new Map(), said: null }))
  const { states } = stay
  const joined = stay
  const self = {}
  const settle = (): void => {
    // one message for all that happens in one turn of the event loop
    queueMicrotask(() => {
      const merged = states.size === 0 ? null : Object.assign({}, ...states.values())
      const text = JSON.stringify(merged)
      if (text === (joined.said ?? "null")) return
      joined.said = merged === null ? null : text
      const said = merged === null ? client.presence.leave(room) : client.presence.join(room, merged as Data)
      said.catch((error: LumenizeError) => {
        if (error.code !== "CONNECTION_LOST") client.core.failed.tell(error)
      })
    })
  }
  const update = (next: Data): void => {
    states.delete(self)
    states.set(self, next)
    settle()
  }
  update(state)
  return {
    update,
    leave() {
      states.delete(self)
      settle()
    },
  }
}

const channels = new WeakMap<Client, Map<string, number>>()

/** Hear custom events; `join` also their channels, as long as somebody wants them. */
export function listen(
  client: Client,
  type: string,
  callback: Parameters<Client["events"]["subscribe"]>[1],
  join: readonly string[] = [],
  onError?: (error: LumenizeError) => void,
): Unsubscribe {
  let counts = channels.get(client)
  if (counts === undefined) channels.set(client, (counts = new Map()))
  const known = counts
  const failed = (error: LumenizeError): void => {
    if (error.code === "CONNECTION_LOST") return
    onError?.(error)
    client.core.failed.tell(error)
  }
  for (const channel of join) {
    const count = known.get(channel) ?? 0
    known.set(channel, count + 1)
    if (count === 0) client.events.join(channel).catch(failed)
  }
  const stop = client.events.subscribe(type, callback, onError ? { onError } : {})
  return () => {
    stop()
    for (const channel of join) {
      known.set(channel, (known.get(channel) ?? 1) - 1)
      queueMicrotask(() => {
        if (known.get(channel) !== 0) return
        known.delete(channel)
        client.events.leave(channel).catch(failed)
      })
    }
  }
}

/** A document: opened for the first who subscribes; closed, once it is saved, after the last. */
export function documentStore(client: Client, id: string): Store<DocumentState> {
  const closing = new Set<() => void>()
  return shared(client, `document ${id}`, UNOPENED, (set) => {
    for (const stay of closing) stay()
    let state = UNOPENED
    let ended = false
    let close = (): void => {}
    const change = (more: Partial<DocumentState>): void => {
      if (!ended) set((state = { ...state, ...more }))
    }
    const failed = (error: unknown): void =>
      change({ error: error instanceof LumenizeError ? error : new LumenizeError("INTERNAL_ERROR", String(error)) })
    client.documents.open(id).then((open) => {
      const ends = [open.onState((next) => change({ state: next })), open.onError(failed)]
      close = () => {
        for (const end of ends) end()
        if (open.saved || open.state === "readonly" || state.error !== null) return open.destroy()
        // what is written and not saved would be lost with the document
        const stop = open.onState((next) => {
          if (next === "saved" || next === "readonly") {
            settled()
            open.destroy()
          }
        })
        const settled = (): void => {
          stop()
          closing.delete(settled)
        }
        closing.add(settled)
      }
      if (ended) return close()
      change({ doc: open.doc, awareness: open.awareness, state: open.state })
      open.synced.then(() => change({ synced: true, state: open.state }), failed)
    }, failed)
    return () => {
      ended = true
      close()
    }
  })
}
