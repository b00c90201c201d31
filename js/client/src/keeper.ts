/** What keeps a client's state across page loads, as the client sees it: the option `persist`. */
import type { Welcome } from "./connection.js"
/** @ts-ignore where it is not installed */
import type { Doc } from "yjs"
import type { LumenizeError } from "./errors.js"
import type { Op } from "./overlay.js"
import type { OneWrite, WriteResult } from "./protocol.js"
import type { Subscription } from "./subscription.js"
import type { Credentials, Unsubscribe } from "./types.js"
import type { NumberedRequest } from "./writes.js"
import type { Yjs } from "./yjs.js"

/** Except for `erase`, none of its methods throws or rejects: what cannot be kept stays in memory, and the client's `onError` is told. */
export interface Keeper {
  /** The number of documents that are not open here, and have edits that the server may lack. */
  readonly unsaved: number
  /** The client is about to connect: restores what is kept of the holder of these credentials, if it is known who that is. */
  enter(credentials: Credentials, token: Promise<string | undefined>): Promise<void>
  /** The server has taken these credentials for those of the same user. */
  renewed(credentials: Credentials, token: string): void
  /** The server has said whose session this is. */
  opened(welcome: Welcome): void
  /** Sends these writes once they are kept as they are sent. */
  send(writes: readonly NumberedRequest[]): void
  /** A subscription waits for its first answer. */
  begun(subscription: Subscription): void
  /** What is kept of a document. */
  document(name: string, yjs: Yjs): Promise<KeptContent>
  /** Erases everything of the user of this session, or else of the client's credentials. Rejects with `STORAGE_FAILED`. */
  erase(): Promise<void>
}

export interface KeptContent {
  /** Whether the server may lack some of it. */
  readonly unsaved: boolean
  /** Adds it to a new document. */
  fill(doc: Doc): void
  /** Keeps what happens to the document from now on. */
  follow(document: Followed): void
}

/** An open document, as what keeps it sees it. */
export interface Followed {
  readonly doc: Doc
  readonly saved: boolean
  /** Whether it has edits that the server may lack, and has not refused. */
  readonly unsaved: boolean
  readonly error: LumenizeError | null
  onState(callback: (state: string) => void): Unsubscribe
}

/** A collection, as it shows own writes and takes their results. */
export interface OwnCollection {
  opOf(write: OneWrite): Op | undefined
  wroteOne(write: OneWrite, result: WriteResult): unknown
}
