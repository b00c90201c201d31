/**
 * Yjs documents over the client's socket, in Hocuspocus messages: the document's name, then a message.
 * Loaded by the first `client.documents.open`.
 */
import type { Decoder } from "lib0/decoding"
import type { Encoder } from "lib0/encoding"
/** @ts-ignore where it is not installed */
import type { Awareness } from "y-protocols/awareness"
/** @ts-ignore where it is not installed */
import type { Doc } from "yjs"
import { LumenizeError, type ErrorCode } from "./errors.js"
import { Listeners, quiet } from "./listeners.js"
import type { DocumentLink, Unsubscribe } from "./types.js"
import { loadYjs, type Yjs } from "./yjs.js"

const SYNC = 0
const AWARENESS = 1
const AUTH = 2
const QUERY_AWARENESS = 3
const SYNC_REPLY = 4
const CLOSE = 7
const SYNC_STATUS = 8
const TOKEN = 0
const DENIED = 1

/**
 * `saved`: everything is committed on the server. `saving`: edits are not confirmed yet. `offline`: edits wait for a
 * connection. `readonly`: the server does not accept edits of this user. `closed`: it was destroyed, or the server has
 * ended it (`onError` has the reason); unsaved edits stay here.
 */
export type SaveState = "saved" | "saving" | "offline" | "readonly" | "closed"

/** An open document. Its functions can be destructured: `const { doc, awareness, destroy } = await …open(id)`. */
export class OpenDocument {
  readonly doc: Doc
  readonly awareness: Awareness
  /** Whether there are edits not known to be committed. */
  private dirty = false
  /** Edits and answers that the server has not confirmed on this connection. */
  private unconfirmed = 0
  /** Whether the server's SyncStep1 was answered on this connection, with all earlier edits. */
  private answered = false
  private readonly = false
  private closed = false
  /** Why it was closed, unless by `destroy`. */
  private reason: LumenizeError | null = null
  private known: SaveState = "saved"
  private readonly changes = new Listeners<[SaveState]>()
  private readonly failures = new Listeners<[LumenizeError]>()
  /** Ends waiting without an error of the document. */
  private readonly interruptions = new Listeners<[LumenizeError]>()
  private readonly ends: Unsubscribe[] = []
  private arrival = later()

  constructor(
    private readonly yjs: Yjs,
    readonly name: string,
    private readonly address: string,
    private readonly link: DocumentLink,
    private readonly ended: () => void,
    private readonly given?: Doc,
  ) {
    this.doc = given ?? new yjs.Y.Doc()
    this.dirty = this.doc.store.clients.size > 0 // the server may lack its content
    this.awareness = new yjs.awareness.Awareness(this.doc)
    const { _checkInterval: timer } = this.awareness as { _checkInterval?: { unref?: () => void } }
    timer?.unref?.() // does not keep Node running; the connection does while there is one
    this.doc.on("update", this.edited)
    this.awareness.on("update", this.moved)
    this.ends.push(
      link.onOpen(() => this.begin()),
      link.onClose(() => this.lost()),
      link.onStop((error) => this.stopped(error)),
      link.onFrame((frame) => this.heard(frame)),
      // one user's edits are not sent as another's
      link.onUserChange((error) => this.dirty && this.fail(error)),
    )
    if (link.isOpen()) this.begin()
  }

  /** Resolves once the document has arrived; rejects if opening it is refused, or the client has given up connecting. */
  get synced(): Promise<void> {
    return this.arrival.promise
  }

  /** Whether all edits are committed on the server. */
  get saved(): boolean {
    return !this.dirty
  }

  get state(): SaveState {
    return this.known
  }

  /** Resolves once all edits are committed; rejects if the server refuses them, or the document is closed. */
  readonly whenSaved = async (): Promise<void> => {
    if (!this.dirty) return
    if (this.closed) throw this.reason ?? this.gone()
    await new Promise<void>((resolve, reject) => {
      const finish = (error?: LumenizeError): void => {
        for (const end of ends) end()
        if (error === undefined) resolve()
        else reject(error)
      }
      const ends = [
        this.onState(() => !this.dirty && finish()),
        this.onError(finish),
        this.interruptions.add(finish),
      ]
    })
  }

  /** Calls `callback` after each change of the state. */
  readonly onState = (callback: (state: SaveState) => void): Unsubscribe => this.changes.add(callback)

  /** Calls `callback` if opening or an edit is refused, or the document ends. */
  readonly onError = (callback: (error: LumenizeError) => void): Unsubscribe => this.failures.add(callback)

  /**
   * Closes the document, and destroys its `doc` unless that was passed to `open`. Unsaved edits are lost: wait for
   * `whenSaved()` where that matters.
   */
  readonly destroy = (): void => {
    if (!this.closed) {
      this.yjs.awareness.removeAwarenessStates(this.awareness, [this.doc.clientID], "local")
      this.send(CLOSE)
    }
    this.end()
    const error = this.gone()
    this.arrival.reject(error)
    this.interruptions.tell(error)
    this.awareness.destroy()
    if (this.given === undefined) this.doc.destroy()
  }

  private gone(): LumenizeError {
    return new LumenizeError("CONNECTION_LOST", `${this.name} was closed`)
  }

  private end(): void {
    if (this.closed) return
    this.closed = true
    for (const end of this.ends.splice(0)) end()
    this.doc.off("update", this.edited)
    this.awareness.off("update", this.moved)
    this.ended()
    this.settle()
  }

  private send(type: number, write?: (encoder: Encoder) => void): void {
    if (!this.link.isOpen()) return
    const encoder = this.yjs.encoding.createEncoder()
    this.yjs.encoding.writeVarString(encoder, this.address)
    this.yjs.encoding.writeVarUint(encoder, type)
    write?.(encoder)
    const refusal = this.link.send(this.yjs.encoding.toUint8Array(encoder) as Uint8Array<ArrayBuffer>)
    if (refusal === null) return
    // Not during the edit, so that observers of the document run first. If the awareness state is too large, others do
    // not see it, and edits continue.
    queueMicrotask(() => (type === AWARENESS ? this.failures.tell(refusal) : this.fail(refusal)))
  }

  private begin(): void {
    this.showToken()
    this.send(SYNC, (encoder) => this.yjs.sync.writeSyncStep1(encoder, this.doc))
    this.tellAwareness() // even without a state: it reveals our client id
    this.settle()
  }

  private showToken(): void {
    this.send(AUTH, (encoder) => {
      this.yjs.encoding.writeVarUint(encoder, TOKEN)
      this.yjs.encoding.writeVarString(encoder, "") // the session's token counts
    })
  }

  private lost(): void {
    this.unconfirmed = 0
    this.answered = false
    const others = [...this.awareness.getStates().keys()].filter((client) => client !== this.doc.clientID)
    this.yjs.awareness.removeAwarenessStates(this.awareness, others, this)
    // so that their states after a reconnect are accepted with any clock
    for (const client of others) this.awareness.meta.delete(client)
    this.settle()
  }

  /** The client has given up connecting, or was disconnected. Edits wait for the next connection. */
  private stopped(error: LumenizeError | null): void {
    const reason = error ?? new LumenizeError("CONNECTION_LOST", "disconnected", {}, true)
    const { arrival } = this
    this.arrival = arrival.settled ? arrival : later()
    arrival.reject(reason)
    if (error === null) this.interruptions.tell(reason)
    else this.failures.tell(error)
  }

  private heard(frame: Uint8Array): void {
    const decoder = this.yjs.decoding.createDecoder(frame)
    if (this.yjs.decoding.readVarString(decoder) !== this.address) return
    switch (this.yjs.decoding.readVarUint(decoder)) {
      case SYNC:
      case SYNC_REPLY:
        this.synchronize(decoder)
        break
      case AWARENESS:
        return this.yjs.awareness.applyAwarenessUpdate(this.awareness, this.yjs.decoding.readVarUint8Array(decoder), this)
      case QUERY_AWARENESS:
        return this.tellAwareness()
      case AUTH: {
        const kind = this.yjs.decoding.readVarUint(decoder)
        if (kind === TOKEN) return this.showToken() // the server requests the next token: the session has it
        const text = this.yjs.decoding.readVarString(decoder)
        if (kind === DENIED) return this.fail(this.denied(text))
        this.readonly = text === "readonly"
        break
      }
      case CLOSE:
        return this.fail(this.denied(this.yjs.decoding.hasContent(decoder) ? this.yjs.decoding.readVarString(decoder) : "closed"))
      case SYNC_STATUS:
        if (this.yjs.decoding.readVarUint(decoder) === 1) this.unconfirmed -= 1
        else if (!this.readonly) this.failures.tell(this.denied("an edit was refused"))
        if (this.unconfirmed <= 0 && this.answered) this.dirty = false
    }
    this.settle()
  }

  private synchronize(decoder: Decoder): void {
    const reply = this.yjs.encoding.createEncoder()
    if (this.yjs.sync.readSyncMessage(decoder, reply, this.doc, this) !== this.yjs.sync.messageYjsSyncStep1) return this.arrival.resolve()
    if (!this.answered) this.unconfirmed += 1 // the server confirms only the first answer
    this.answered = true
    this.send(SYNC, (encoder) => this.yjs.encoding.writeUint8Array(encoder, this.yjs.encoding.toUint8Array(reply)))
  }

  /** A reason may begin with a code: `NOT_FOUND: it was deleted`. */
  private denied(reason: string): LumenizeError {
    const [, code = "PERMISSION_DENIED", text = reason] = /^([A-Z]+_[A-Z_]+|CONFLICT|UNAVAILABLE): (.*)$/s.exec(reason) ?? []
    return new LumenizeError(code as ErrorCode, `${this.name}: ${text}`, { document: this.name })
  }

  private fail(error: LumenizeError): void {
    if (this.closed) return
    this.reason = error
    this.end()
    this.arrival.reject(error)
    this.failures.tell(error)
  }

  private readonly edited = (update: Uint8Array, origin: unknown): void => {
    if (origin === this) return
    this.dirty = true
    // before that, the answer to the server's SyncStep1 contains the edit
    if (this.answered) {
      this.unconfirmed += 1
      this.send(SYNC, (encoder) => this.yjs.sync.writeUpdate(encoder, update))
    }
    this.settle()
  }

  private readonly moved = ({ added, updated, removed }: Record<"added" | "updated" | "removed", number[]>): void => {
    // if the server sent it, it is a null state with a higher clock: send ours with one above it
    if ([...added, ...updated, ...removed].includes(this.doc.clientID)) this.tellAwareness()
  }

  private tellAwareness(): void {
    const states = this.yjs.awareness.encodeAwarenessUpdate(this.awareness, [this.doc.clientID])
    this.send(AWARENESS, (encoder) => this.yjs.encoding.writeVarUint8Array(encoder, states))
  }

  private settle(): void {
    let state: SaveState = "saved"
    if (this.closed) state = "closed"
    else if (this.readonly) state = "readonly"
    else if (this.dirty) state = this.link.isOpen() ? "saving" : "offline"
    if (state === this.known) return
    this.known = state
    this.changes.tell(state)
  }
}

interface Later {
  promise: Promise<void>
  settled: boolean
  resolve(): void
  reject(error: LumenizeError): void
}

function later(): Later {
  const made = { settled: false } as Later
  const settle = <A extends unknown[]>(call: (...args: A) => void) => (...args: A): void => {
    made.settled = true
    call(...args)
  }
  const promise = new Promise<void>((resolve, reject) => Object.assign(made, { resolve: settle(resolve), reject: settle(reject) }))
  return Object.assign(made, { promise: quiet(promise) })
}

/**
 * `address` is the document's name, followed by a NUL and a number if it was opened before.
 * Rejects with `INVALID_REQUEST` if Yjs is not installed.
 */
export async function openDocument(name: string, address: string, link: DocumentLink, ended: () => void, doc?: Doc): Promise<OpenDocument> {
  return new OpenDocument(await loadYjs(), name, address, link, ended, doc)
}
