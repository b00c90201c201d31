/** What applications see. */
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

export interface Operators {
  in?: Value[]
  notIn?: Value[]
  not?: Value | Operators
  lt?: Value
  lte?: Value
  gt?: Value
  gte?: Value
  contains?: Value
  startsWith?: string
  endsWith?: string
  isNull?: boolean
}

export interface Where {
  AND?: Where[]
  OR?: Where[]
  NOT?: Where
  [field: string]: Value | Operators | Where | Where[] | undefined
}

export type OrderBy = Record<string, "asc" | "desc">

export interface Query {
  where?: Where
  orderBy?: OrderBy | OrderBy[]
  limit?: number
  offset?: number
  after?: string
}

export interface SubscribeOptions {
  /** Only changes of these fields, and only these. */
  fields?: string[]
  /** Whether each entity comes with what this user may do with it. */
  includePermissions?: boolean
  /** Asked before each delivery: while it is false, nothing is delivered. */
  condition?: () => boolean
  /** The subscription was refused, or has ended. */
  onError?: (error: LumenizeError) => void
  /** After a reconnect: whether nothing was missed. Where something was, read anew. */
  onResume?: (recovered: boolean) => void
}

export type Unsubscribe = () => void

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

export interface WriteOptions {
  /** The version last seen; by default the one that this client has seen last. */
  version?: number
  /** `reject` asks for an error with code `CONFLICT` if somebody else has written the same fields since. */
  onConflict?: "merge" | "reject"
  /** Fields to remove. */
  unset?: string[]
}

export interface WebSocketOptions {
  autoReconnect?: boolean
  reconnectStrategy?: "linear" | "exponential"
  /** Another name of `initialDelay`. Milliseconds. */
  reconnectInterval?: number
  initialDelay?: number
  maxDelay?: number
  backoffFactor?: number
  maxAttempts?: number
  /** Another name of `maxAttempts`. */
  maxReconnectAttempts?: number
  /** Milliseconds of silence after which the server is asked whether it is there; 0: never. */
  heartbeatInterval?: number
  subscriptionRateLimit?: { maxSubscriptions?: number; maxEventsPerSecond?: number }
  /** Compression is agreed on between the browser and the server; `false` changes nothing. */
  compression?: boolean
  /** MessagePack instead of JSON. */
  binaryProtocol?: boolean
  onReconnectFailed?: () => void
}

export interface Credentials {
  userId?: string
  /** A JSON web token, or what gives the newest one. */
  token?: string | (() => string | Promise<string>)
}

export interface ClientOptions extends Credentials {
  /** The server, `https://collab.example.com`. By default the page's own host, outside a page `http://localhost:8000`. */
  url?: string
  projectId?: string
  apiKey?: string
  websocket?: WebSocketOptions
  /** Writes that may wait while there is no connection. */
  maxPendingWrites?: number
  /** Whether live queries show writes before the server has confirmed them. */
  optimistic?: boolean
  onConflict?: (conflicts: Conflict[], context: { collection: string; id: string }) => void
  /** A WebSocket constructor, where there is no global one. */
  WebSocket?: unknown
}
