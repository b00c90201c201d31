/** What else a page shows, as external stores: the connection, who is in a room, a document, a number. */
import type { Client, CustomEvent } from "./client.js"
import type { OpenDocument, SaveState } from "./documents.js"
import type { LumenizeError } from "./errors.js"
import { asError, LOADING, lasting, perClient, shared, type QueryState, type Store } from "./store.js"
import type { Data, EntityEvent, Person, Unsubscribe } from "./types.js"

export { LOADING, queryStore, type QueryState, type Store } from "./store.js"

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

const constant = <T>(state: T): Store<T> => ({ getSnapshot: () => state, subscribe: () => () => {} })

/** The stores of who asks for nothing. */
export const NO_ROWS: Store<QueryState<never>> = constant({ ...LOADING, loading: false })
export const NO_ROOM: Store<PresenceState> = constant({ ...NOBODY, loading: false })
export const NO_DOCUMENT: Store<DocumentState> = constant(UNOPENED)

/** `doc_123` and `documents/doc_123` are one. */
const named = (room: string): string => (room.includes("/") ? room : `documents/${room}`)

/** Whether there is a connection, and whether everything is saved. */
export function connectionStore(client: Client): Store<ConnectionState> {
  let last = CONNECTING
  return {
    getSnapshot() {
      const state = client.isConnected() ? "connected" : client.core.welcome === null ? "connecting" : "offline"
      const { pending } = client
      if (state !== last.state || pending !== last.pending) last = { state, pending, saved: pending === 0 }
      return last
    },
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
  return shared(client, `presence ${named(room)}`, NOBODY, (set) => {
    let state = NOBODY
    const failed = (error: LumenizeError): void => set((state = { ...state, loading: false, error }))
    return lasting(client, failed, (onError) =>
      client.presence.subscribe(
        room,
        (people, count) => set((state = { people, count, loading: false, error: null })),
        { onError },
      ),
    )
  })
}

/** A number that the server tells whenever it changes; `null` before the first time. */
export function metricStore(client: Client, metric: "active_users"): Store<number | null> {
  return shared<number | null>(client, `metric ${metric}`, null, (set) => client.analytics.subscribe(metric, set))
}

interface Stay {
  states: Map<object, Data>
  /** What the server was told last. */
  said: string
  settle: () => void
  end: Unsubscribe
}
const ABSENT = "null"
const stays = perClient(() => new Map<string, Stay>())

function begin(client: Client, room: string): Stay {
  const states = new Map<object, Data>()
  const settle = (): void => {
    // one message for all that happens in one turn of the event loop
    queueMicrotask(() => {
      const state = states.size === 0 ? null : (Object.assign({}, ...states.values()) as Data)
      const text = JSON.stringify(state)
      if (state === null && stays(client).get(room) === stay) {
        stays(client).delete(room)
        stay.end()
      }
      if (text === stay.said) return
      stay.said = text
      const told = state === null ? client.presence.leave(room) : client.presence.join(room, JSON.parse(text) as Data)
      told.catch((error: LumenizeError) => {
        if (error.code === "CONNECTION_LOST") return
        stay.said = ABSENT // and is asked for again with the next state, or the next session
        client.core.failed.tell(error)
      })
    })
  }
  const stops = [client.onConnect(settle), client.onReconnect(settle)]
  const stay: Stay = { states, said: ABSENT, settle, end: () => stops.forEach((stop) => stop()) }
  return stay
}

/** Be in a room until `leave`. Several may be in the same room: what they say is one state, the newest counts. */
export function joinPresence(
  client: Client,
  room: string,
  state: Data = {},
): { update(state: Data): void; leave(): void } {
  const name = named(room)
  const stay = stays(client).get(name) ?? begin(client, name)
  stays(client).set(name, stay)
  const self = {}
  const update = (next: Data): void => {
    stay.states.delete(self)
    stay.states.set(self, next)
    stay.settle()
  }
  update(state)
  return {
    update,
    leave() {
      stay.states.delete(self)
      stay.settle()
    },
  }
}

const channels = perClient(() => new Map<string, number>())

/** Hear custom events; `join` also their channels, as long as somebody wants them. */
export function listen(
  client: Client,
  type: string,
  callback: (event: CustomEvent) => void,
  join: readonly string[] = [],
  onError?: (error: LumenizeError) => void,
): Unsubscribe {
  const known = channels(client)
  const failed = (error: LumenizeError): void => {
    if (error.code === "CONNECTION_LOST") return
    if (onError) onError(error)
    else client.core.failed.tell(error)
  }
  for (const channel of join) {
    const count = known.get(channel) ?? 0
    known.set(channel, count + 1)
    if (count === 0) client.events.join(channel).catch(failed)
  }
  const stop = lasting(client, onError, (onError) => client.events.subscribe(type, callback, { onError }))
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

export interface EntityEventOptions {
  /** Only changes of these fields, and only these. */
  fields?: string[]
  /** Whether each event comes with what this user may do with its entity. */
  includePermissions?: boolean
  /** The subscription was refused, or has ended. Without it `client.onError` is told. */
  onError?: (error: LumenizeError) => void
}

/** Hear what happens to one entity, or to all of a collection (`*`). */
export function listenEntities<T extends Data>(
  client: Client,
  collection: string,
  target: string,
  callback: (event: EntityEvent<T>) => void,
  options: EntityEventOptions = {},
): Unsubscribe {
  return lasting(client, options.onError, (onError) =>
    client.collection<T>(collection).subscribe(target, callback, { ...options, onError }),
  )
}

/** Who shows a document, or did last: the only one who may close it. */
const holders = perClient(() => new Map<string, object>())

/** A document: opened for the first who subscribes; closed, once it is saved, after the last. */
export function documentStore(client: Client, id: string): Store<DocumentState> {
  const name = named(id)
  return shared(client, `document ${name}`, UNOPENED, (set) => {
    const self = {}
    let state = UNOPENED
    let open: OpenDocument | null = null
    let ends: Unsubscribe[] = []
    let ended = false
    const change = (more: Partial<DocumentState>): void => {
      if (!ended) set((state = { ...state, ...more }))
    }
    const failed = (error: unknown): void => change({ error: asError(error) })
    const start = (): void => {
      holders(client).set(name, self)
      client.documents.open(name).then((it) => {
        if (ended) return close(it)
        open = it
        ends = [it.onState((next) => change({ state: next })), it.onError(failed)]
        change({ doc: it.doc, awareness: it.awareness, state: it.state, synced: false, error: null })
        it.synced.then(
          () => open === it && change({ synced: true, state: it.state }),
          (error) => open === it && failed(error),
        )
      }, failed)
    }
    const finish = (): void => {
      for (const end of ends.splice(0)) end()
      if (open !== null) close(open)
      open = null
    }
    // who mounts again before it was closed is given the same document
    const destroy = (it: OpenDocument): void => {
      if (holders(client).get(name) !== self) return
      holders(client).delete(name)
      it.destroy()
    }
    const close = (it: OpenDocument): void => {
      if (it.saved || it.state === "readonly" || it.state === "closed" || state.error !== null) return destroy(it)
      // what is not saved would be lost with it
      const stop = it.onState((next) => {
        if (next !== "saved" && next !== "readonly") return
        stop()
        destroy(it)
      })
    }
    // the next session may be that of somebody who may open it; edits that are nowhere else stay here
    const again = (): void => {
      if (open?.state !== "closed" || !open.saved) return
      finish()
      start()
    }
    const stops = [client.onConnect(again), client.onReconnect(again)]
    start()
    return () => {
      ended = true
      for (const stop of stops) stop()
      finish()
    }
  })
}
