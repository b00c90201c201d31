/** Messages of `/realtime`; the rules are in docs/protocol.md. The twin of `collab/wire/realtime/messages.py`. */
import type { WireError } from "./errors.js"
import type { Aggregate, Query } from "./queries.js"
import type { Data } from "./schema.js"
import type { Conflict, EntityEvent, Permissions } from "./types.js"

export const VERSION = 1

type Fields = readonly string[] | undefined

export type Target =
  | { kind: "entities"; collection: string; entity?: string; fields?: Fields; includePermissions?: boolean | undefined; cursor?: string }
  | { kind: "rows"; collection: string; query?: Query; fields?: Fields; includePermissions?: boolean | undefined }
  | { kind: "aggregate"; collection: string; query?: Aggregate }
  | { kind: "custom"; event: string; cursor?: string }
  | { kind: "system"; event: string; cursor?: string }
  | { kind: "analytics"; metric: string }
  | { kind: "presence"; room: string }

/** A write: a message of its own, or one of several in a message. */
export type OneWrite =
  | { type: "create"; collection: string; data: Data; entity: string; request?: string }
  | {
      type: "update"
      collection: string
      entity: string
      changes: Data
      unset?: string[] | undefined
      version?: number | undefined
      onConflict?: "merge" | "reject"
      request?: string
    }
  | { type: "delete"; collection: string; entity: string; request?: string }

/** The result of one of several writes: `error`, or else the members of {@link Written}, without `conflicts` if there are none. */
export type WriteResult = { error: WireError } | (Omit<Written, "conflicts"> & Partial<Written> & { error?: undefined })

/** Messages answered by one `reply` or `failure` with the same `id`. Members that are `undefined` are not sent. */
export type Request =
  | { type: "authenticate"; token: string; userId?: string | undefined }
  | OneWrite
  | { type: "restore"; collection: string; entity: string; version?: number | undefined; request?: string }
  | { type: "writeMany"; writes: OneWrite[] }
  | { type: "transaction"; writes: OneWrite[]; request: string }
  | {
      type: "findById"
      collection: string
      entity: string
      content?: boolean
      version?: number
      at?: Date | string
      includePermissions?: boolean
    }
  | { type: "findMany"; collection: string; query?: Query; fields?: readonly string[]; includePermissions?: boolean }
  | { type: "count"; collection: string; query?: Query }
  | { type: "aggregate"; collection: string; query?: Aggregate }
  | { type: "history"; collection: string; entity: string; limit?: number; before?: number }
  | { type: "schema" }
  | { type: "subscribe"; subscriptions: { sub: number; target: Target }[] }
  | { type: "unsubscribe"; subs: number[] }
  | { type: "emit"; event: Data; request?: string }
  | { type: "joinChannel" | "leaveChannel"; channel: string }
  | { type: "joinPresence" | "updatePresence"; room: string; state: Data }
  | { type: "leavePresence"; room: string }

export type ClientMessage =
  | {
      type: "hello"
      protocol: number
      projectId?: string | undefined
      apiKey?: string | undefined
      userId?: string | undefined
      token?: string | undefined
      maxSubscriptions?: number | undefined
      maxEventsPerSecond?: number | undefined
    }
  | { type: "ping" }
  | (Request & { id: number })

export interface Step {
  op: "enter" | "leave" | "move" | "change"
  id: string
  index?: number
  data?: Data
  set?: Data
  unset?: string[]
  version?: number
  /** With `enter`, if requested. */
  permissions?: Permissions
}

/** What is related to rows: the rows of `collection` whose `member` is the value of their member `by`. */
export interface WireIncluded {
  collection: string
  by: string
  member: string
  one?: boolean
  rows: Record<string, Data[]>
  versions: Record<string, number[]>
}

/** Steps of the list of a relation under a key; `fresh`: from an empty list. */
export interface IncludedSteps {
  relation: string
  key: string
  steps: Step[]
  fresh?: boolean
}

export interface WirePerson {
  key: string
  userId?: string
  name?: string
  state?: Data
  states?: Data[]
}

export interface Written {
  data: Data
  version: number
  conflicts: Conflict[]
}

export interface Subscribed {
  sub: number
  cursor?: string
  recovered?: boolean
  error?: WireError
}

export type ServerMessage =
  | {
      type: "welcome"
      protocol: number
      projectId: string
      userId: string | null
      session: string
      cursor: string
      heartbeatSeconds: number
      limits: { maxSubscriptions: number; maxEventsPerSecond: number; maxMessageBytes: number }
      /** The server's time. */
      at?: string
    }
  | { type: "pong" }
  | { type: "reply"; id: number; result?: unknown }
  | { type: "failure"; error: WireError; id?: number; sub?: number }
  | { type: "event"; subs: number[]; cursor: string; event: EntityEvent; permissions?: Permissions }
  | { type: "rows"; sub: number; rows: Data[]; versions: number[]; permissions?: Permissions[]; included?: Record<string, WireIncluded> }
  | { type: "diff"; sub: number; steps: Step[]; included?: IncludedSteps[] }
  | { type: "custom"; subs: number[]; cursor: string; event: Data & { type: string } }
  | { type: "system"; subs: number[]; event: Data & { type: string }; cursor?: string }
  | { type: "metric"; subs: number[]; value: number }
  | { type: "presence"; subs: number[]; count: number; people: WirePerson[]; left?: string[]; complete?: boolean }

/** The encoding of messages: JSON in text frames, or MessagePack in binary frames after one zero byte. */
export interface Codec {
  encode(message: ClientMessage): string | Uint8Array<ArrayBuffer>
  decode(frame: string | Uint8Array): ServerMessage
}

export const json: Codec = {
  encode: (message) => JSON.stringify(message),
  decode: (frame) => JSON.parse(frame as string) as ServerMessage,
}

/** The MessagePack codec, loaded on first use. */
export async function messagePack(): Promise<Codec> {
  const { decode, encode } = await import("@msgpack/msgpack")
  return {
    encode(message) {
      // through JSON, so that dates and other values with toJSON are the same in both encodings
      const body = encode(JSON.parse(JSON.stringify(message)))
      const frame = new Uint8Array(body.length + 1)
      frame.set(body, 1)
      return frame
    },
    decode: (frame) => decode((frame as Uint8Array).subarray(1)) as ServerMessage,
  }
}

/** Whether a frame is a message, and not one of a Yjs document (which begins with the length of its name). */
export function isMessage(frame: string | Uint8Array): boolean {
  return typeof frame === "string" || frame[0] === 0
}
