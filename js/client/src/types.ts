/** What applications see. */
import type { Doc } from "yjs"
import type { LumenizeError } from "./errors.js"
import type { Permissions } from "./protocol.js"

/** A JSON object. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type Data = Record<string, any>

/** An entity: its fields, and what the record adds. */
export type Entity<T = Data> = T & { id: string; createdAt: string; updatedAt: string }

export interface Conflict {
  field: string
  /** What both had seen before; `null` also if that is not known any more. */
  base: unknown
  theirs: unknown
  yours: unknown
  winner: "yours" | "theirs"
  userId: string | null
  at: string | null
}

export interface Change {
  from?: unknown
  to?: unknown
  /** Of content: what a text editor did, in UTF-16 units. */
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
  /** How many events this one stands for, to a subscriber over its rate. */
  conflated?: number
  permissions?: Permissions
}

export type Value = string | number | boolean | null | Date

/** Whether nothing is said of a type's members: then every name is one. */
type Untyped<T> = string extends keyof T ? true : false

/** What a member can be compared with. Texts that are points in time are also compared with dates. */
type Comparable<V> = V extends string ? (string extends V ? V | Date : V) : V extends number | boolean | Date ? V : never

export interface Operators<V = Value> {
  in?: readonly (V | null)[]
  notIn?: readonly (V | null)[]
  not?: V | null | Operators<V>
  lt?: V
  lte?: V
  gt?: V
  gte?: V
  /** Of a text: a part of it; of a list: one of its elements. */
  contains?: V | string
  startsWith?: string
  endsWith?: string
  isNull?: boolean
}

/** Of a list, what is in it. */
type Element<V> = V extends readonly (infer E)[] ? E : V

/** Conditions on the members of a member. */
type Inside<V> = V extends Date | string | number | boolean | null | undefined | readonly unknown[]
  ? never
  : { [Name in keyof V]?: Condition<V[Name]> }

type Condition<V> = undefined | null | Comparable<V> | Operators<Comparable<Element<V>>> | Inside<V>

interface Combined<W> {
  AND?: W | readonly W[]
  OR?: W | readonly W[]
  NOT?: W | readonly W[]
}

interface AnyWhere extends Combined<AnyWhere> {
  [field: string]: Value | Operators | AnyWhere | readonly AnyWhere[] | undefined
}

/** Conditions on an entity with fields `T`; all must hold. `"profile.city"` is a member of a member. */
export type Where<T = Data> =
  Untyped<T> extends true
    ? AnyWhere
    : { [Name in keyof Entity<T>]?: Condition<Entity<T>[Name]> } & Combined<Where<T>> & {
          [path: `${string}.${string}`]: Value | Operators | undefined
        }

type Direction = "asc" | "desc"

export type OrderBy<T = Data> =
  Untyped<T> extends true
    ? { [field: string]: Direction }
    : { [Name in keyof Entity<T>]?: Direction } & { [path: `${string}.${string}`]: Direction }

export interface Query<T = Data> {
  where?: Where<T>
  orderBy?: OrderBy<T> | readonly OrderBy<T>[]
  limit?: number
  offset?: number
  after?: string
}

export interface ReadOptions {
  /** Only these fields, and `id`. */
  fields?: string[]
  /** Whether each entity comes with what this user may do with it. */
  includePermissions?: boolean
}

export interface HistoryOptions {
  /** So many events. */
  limit?: number
  /** Only those before this version. */
  before?: number
}

/** With `fields`, only changes of these are told. */
export interface SubscribeOptions extends ReadOptions {
  /** Asked before each delivery: while it is false, nothing is delivered. */
  condition?: () => boolean
  /** The subscription was refused, or has ended. */
  onError?: (error: LumenizeError) => void
  /** After a reconnect: whether nothing was missed. Where something was, read anew. */
  onResume?: (recovered: boolean) => void
}

export type Unsubscribe = () => void

/** Ends a subscription. */
export interface Subscribed extends Unsubscribe {
  /** Resolves once it is in force: nothing is missed from then on. Rejects with what it was refused with. */
  readonly ready: Promise<void>
}

/** One verified user with all their cursors, or one client that nobody verified. */
export interface Person {
  /** Tells people of one room apart. */
  key: string
  userId: string | null
  name: string | null
  /** The newest state of this person's clients: `cursor`, and whatever else they said. */
  [member: string]: unknown
  states: Data[]
}

export interface FindOptions {
  /** Content roots as plain values, in `content`. */
  content?: boolean
  /** As of a version. */
  version?: number
  /** As of a moment. */
  at?: Date | string
  /** Whether `permissions` come with it. */
  includePermissions?: boolean
}

export interface OpenOptions {
  /** A Yjs document that exists already, as one that was kept in the browser. It is not destroyed with the opening. */
  doc?: Doc
}

export interface WriteOptions {
  /** The version last seen; by default the one that this client has seen last. */
  version?: number
  /** `reject` asks for an error with code `CONFLICT` if somebody else has written the same fields since. */
  onConflict?: "merge" | "reject"
  /** Fields to remove. */
  unset?: string[]
}

/** Lower the server's limits for this client. */
export interface RateLimit {
  maxSubscriptions?: number
  maxEventsPerSecond?: number
}

/** Times are milliseconds. */
export interface WebSocketOptions {
  /** Come back when the connection breaks. */
  autoReconnect?: boolean
  /** How the waits between attempts grow: by `initialDelay` each time, or `backoffFactor` times. */
  reconnectStrategy?: "linear" | "exponential"
  /** Another name of `initialDelay`, which counts if both are given. */
  reconnectInterval?: number
  /** Before the first attempt to come back. */
  initialDelay?: number
  /** No wait is longer. */
  maxDelay?: number
  backoffFactor?: number
  /** Attempts in a row before giving up. */
  maxAttempts?: number
  /** Another name of `maxAttempts`, which counts if both are given. */
  maxReconnectAttempts?: number
  /** Silence after which the server is asked for a sign of life; 0: never. */
  heartbeatInterval?: number
  /** For that sign. Without it the connection counts as lost. */
  heartbeatTimeout?: number
  /** For opening a connection and being let in. */
  connectTimeout?: number
  /** For the answer to anything but a write, time without a connection included. Writes wait as long as it takes. */
  requestTimeout?: number
  subscriptionRateLimit?: RateLimit
  /** Compression is agreed on between the browser and the server; nothing here changes that. */
  compression?: boolean
  /** MessagePack instead of JSON. */
  binaryProtocol?: boolean
  /** Called after the last attempt. */
  onReconnectFailed?: () => void
}

export interface Credentials {
  /** Must be what the token says; where no credential is asked for, it stands for itself. */
  userId?: string
  /** A JSON web token, or what gives the newest one. */
  token?: string | (() => string | Promise<string>)
}

export interface ClientOptions extends Credentials {
  /** The server, `https://collab.example.com`. By default the page's own host, outside a page `http://localhost:8000`. */
  url?: string
  /** Must be what the credential says. */
  projectId?: string
  /** Which application this is. */
  apiKey?: string
  websocket?: WebSocketOptions
  /** Writes that may wait while there is no connection. */
  maxPendingWrites?: number
  /** Whether live queries show writes before the server has confirmed them. */
  optimistic?: boolean
  /** What an update does that meets others it has not seen, where it does not say so itself. See `WriteOptions`. */
  conflicts?: "merge" | "reject"
  onConflict?: (conflicts: Conflict[], context: { collection: string; id: string }) => void
  /** A WebSocket constructor, where there is no global one. */
  WebSocket?: unknown
}
