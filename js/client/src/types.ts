/** The types of the public API. */
/** @ts-ignore where it is not installed */
import type { Doc } from "yjs"
import type { LumenizeError } from "./errors.js"
import type { Field, OptionalField } from "./queries.js"
import type { Data, Entity } from "./schema.js"

/** This user's rights on an entity. */
export interface Permissions {
  read: boolean
  write: boolean
}

/** A row or an event that callbacks share: frozen. To change it, copy it (`{ ...row }`, `structuredClone(row)`). */
export type Shown<T> = Readonly<T>

export interface Conflict {
  field: string
  /** The value that both had seen; `null` also if it is no longer known. */
  base: unknown
  theirs: unknown
  yours: unknown
  winner: "yours" | "theirs"
  userId: string | null
  at: string | null
}

export interface ConflictContext {
  collection: string
  id: string
}

export interface Change {
  from?: unknown
  to?: unknown
  /** For content: a text delta, in UTF-16 code units. */
  delta?: unknown[]
  paths?: unknown[]
}

export interface EntityEvent<T = Data> {
  position: number
  type: "created" | "updated" | "deleted" | "restored"
  collection: string
  id: string
  version: number
  data: Entity<T>
  changes: Record<string, Change>
  userId: string | null
  at: string
  conflicts: Conflict[]
  /** The number of events combined in this one, for a subscriber over its rate. */
  conflated?: number
  permissions?: Permissions
}

export interface ReadOptions<T = Data, F extends Field<T> = Field<T>> {
  /** Only these fields, and `id`. */
  fields?: readonly F[]
  /** Whether each entity includes this user's permissions. */
  includePermissions?: boolean
}

export interface HistoryOptions {
  /** Maximum number of events. */
  limit?: number
  /** Only events before this version. */
  before?: number
}

/** With `fields`, only changes of these are delivered. */
export interface SubscribeOptions<T = Data, F extends Field<T> = Field<T>> extends ReadOptions<T, F> {
  /** Called before each delivery: while it returns false, nothing is delivered. */
  condition?: () => boolean
  /** Called if the subscription is refused or ends. */
  onError?: (error: LumenizeError) => void
  /** Called after a reconnect: with `true` if nothing was missed; otherwise read again. */
  onResume?: (recovered: boolean) => void
}

export type Unsubscribe = () => void

/** Ends a subscription. */
export interface Subscribed extends Unsubscribe {
  /** Resolves once it is in force: it misses nothing from then on. Rejects with the error if it is refused. */
  readonly ready: Promise<void>
}

/** One verified user with all their cursors, or one unverified client. */
export interface Person {
  /** Unique in a room. */
  key: string
  userId: string | null
  name: string | null
  /** The newest state of this person's clients: `cursor` and any other members. */
  [member: string]: unknown
  states: Data[]
}

export interface FindOptions {
  /** Content roots as plain values, in `content`. */
  content?: boolean
  /** The state at a version. */
  version?: number
  /** The state at a time. */
  at?: Date | string
  /** Whether the result includes `permissions`. */
  includePermissions?: boolean
}

export interface OpenOptions {
  /** An existing Yjs document, such as one kept in the browser. Closing does not destroy it. */
  doc?: Doc
}

export interface WriteOptions<T = Data> {
  /** The version that the write is based on; by default the newest that this client has seen. */
  version?: number
  /** `reject`: reject with `CONFLICT` if somebody else has written the same fields since. */
  onConflict?: "merge" | "reject"
  /** Fields to remove. */
  unset?: readonly OptionalField<T>[]
}

/** One of several updates: the entity, its changes, and the options of `update`. */
export interface UpdateOf<T = Data> extends WriteOptions<T> {
  id: string
  changes?: Partial<T>
}

/** Lowers the server's limits for this client. */
export interface RateLimit {
  maxSubscriptions?: number
  maxEventsPerSecond?: number
}

/** Times are in milliseconds. */
export interface WebSocketOptions {
  /** Whether to reconnect when the connection breaks. */
  autoReconnect?: boolean
  /** Growth of the delay between attempts: by `initialDelay`, or by the factor `backoffFactor`. */
  reconnectStrategy?: "linear" | "exponential"
  /** Another name for `initialDelay`, which counts if both are given. */
  reconnectInterval?: number
  /** Delay before the first attempt to reconnect. */
  initialDelay?: number
  /** The longest delay. */
  maxDelay?: number
  backoffFactor?: number
  /** Attempts in a row before giving up. */
  maxAttempts?: number
  /** Another name for `maxAttempts`, which counts if both are given. */
  maxReconnectAttempts?: number
  /** Silence after which the client pings the server; 0: never. */
  heartbeatInterval?: number
  /** Time for the answer to that ping. Without one the connection counts as lost. */
  heartbeatTimeout?: number
  /** Time for opening a connection and a session, and for each answer of the token function. */
  connectTimeout?: number
  /** Time for the answer to anything except a write, including time without a connection. Writes have no timeout. */
  requestTimeout?: number
  subscriptionRateLimit?: RateLimit
  /** Has no effect: browser and server negotiate compression themselves. */
  compression?: boolean
  /** MessagePack instead of JSON. */
  binaryProtocol?: boolean
  /** Called after the last attempt. */
  onReconnectFailed?: () => void
}

export interface Credentials {
  /** Must match the token; a server that requires no credential accepts any. */
  userId?: string | undefined
  /** A JSON web token, or a function that returns the current one. */
  token?: string | (() => string | Promise<string>) | undefined
}

export interface PersistOptions {
  /** The name of the database. */
  name?: string
  /** How much of rows and documents is kept, in bytes; beyond that, what was used least recently is dropped. */
  maxBytes?: number
}

export interface ClientOptions extends Credentials {
  /** The server, `https://collab.example.com`. By default the page's own host, outside a page `http://localhost:8000`. */
  url?: string
  /** Must match the credential. */
  projectId?: string
  /** Identifies the application. */
  apiKey?: string
  websocket?: WebSocketOptions
  /** Writes that may wait while there is no connection. */
  maxPendingWrites?: number
  /** Whether live queries show writes before the server has confirmed them. */
  optimistic?: boolean
  /** The default of `onConflict` in `WriteOptions`. */
  conflicts?: "merge" | "reject"
  onConflict?: (conflicts: readonly Shown<Conflict>[], context: Shown<ConflictContext>) => void
  /** Whether pending writes, the last rows of live queries, and documents are kept in the browser, in IndexedDB. */
  persist?: boolean | PersistOptions
  /**
   * Returns the `traceparent` (W3C Trace Context) of the span that runs, if there is one. It is called for each read and
   * write, which the server then makes in this trace.
   */
  traceparent?: () => string | null | undefined
  /** A WebSocket constructor, if there is no global one. */
  WebSocket?: unknown
}

/** Why the client has stopped connecting; `wanted` after `disconnect`. */
export interface Over {
  reason: LumenizeError
  wanted: boolean
}

/** What a document is told by the client. */
export interface Attached {
  /** Whether it has edits that the server may lack, and has not refused. */
  readonly unsaved: boolean
  opened(): void
  closed(): void
  /** The client has stopped connecting. */
  stopped(over: Over): void
  /** The new session belongs to another user. */
  userChanged(error: LumenizeError, all?: boolean): void
  /** A frame of any document. Throws if it cannot be read. */
  frame(frame: Uint8Array): void
}
