/**
 * Yjs documents over the client's socket, in the framing of Hocuspocus: the document's name, then a message.
 * Needs `yjs`, `y-protocols` and `lib0`; loaded by the first `client.documents.open`.
 */
import * as decoding from "lib0/decoding"
import * as encoding from "lib0/encoding"
import { Awareness, applyAwarenessUpdate, encodeAwarenessUpdate, removeAwarenessStates } from "y-protocols/awareness"
import { messageYjsSyncStep1, readSyncMessage, writeSyncStep1, writeUpdate } from "y-protocols/sync"
import * as Y from "yjs"
import type { DocumentLink } from "./client.js"
import { LumenizeError } from "./errors.js"
import { Listeners, quiet } from "./listeners.js"
import type { Unsubscribe } from "./types.js"

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
 * `saved`: everything is committed on the server. `saving`: something is on its way. `offline`: something is kept here,
 * and there is no connection. `readonly`: the server does not take edits of this user. `closed`: it was destroyed, or
 * the server has ended it (`onError` says why); edits stay here.
 */
export type SaveState = "saved" | "saving" | "offline" | "readonly" | "closed"

/** An open document. Its functions can be taken out of it: `const { doc, awareness, destroy } = await …open(id)`. */
export class OpenDocument {
  readonly doc: Y.Doc
  readonly awareness: Awareness
  /** Resolves once the document is here; rejects if it may not be opened. */
  readonly synced: Promise<void>
  /** Whether something was edited that is not known to be committed. */
  private dirty = false
  /** Edits and answers that the server has not confirmed on this connection. */
  private unconfirmed = 0
  /** Whether the server's question was answered on this connection: with all that was edited before. */
  private answered = false
  private readonly = false
  private closed = false
  /** Why it was closed, unless by us. */
  private reason: LumenizeError | null = null
  private known: SaveState = "saved"
  private readonly changes = new Listeners<[SaveState]>()
  private readonly failures = new Listeners<[LumenizeError]>()
  private readonly ends: Unsubscribe[] = []
  private resolve!: () => void
  private reject!: (error: LumenizeError) => void

  constructor(
    readonly name: string,
    private readonly address: string,
    private readonly link: DocumentLink,
    private readonly ended: () => void,
    private readonly given?: Y.Doc,
  ) {
    this.doc = given ?? new Y.Doc()
    this.dirty = this.doc.store.clients.size > 0 // what it brings along may be news to the server
    this.awareness = new Awareness(this.doc)
    const { _checkInterval: timer } = this.awareness as { _checkInterval?: { unref?: () => void } }
    timer?.unref?.() // Node need not live for it: the connection keeps it alive as long as there is one
    this.synced = quiet(
      new Promise((resolve, reject) => {
        this.resolve = resolve
        this.reject = reject
      }),
    )
    this.doc.on("update", this.edited)
    this.awareness.on("update", this.moved)
    this.ends.push(
      link.onOpen(() => this.begin()),
      link.onClose(() => this.lost()),
      link.onFrame((frame) => this.heard(frame)),
      // what one user has written is not sent as another's
      link.onUserChange((error) => this.dirty && this.fail(error)),
    )
    if (link.isOpen()) this.begin()
  }

  /** Whether all edits are committed on the server. */
  get saved(): boolean {
    return !this.dirty
  }

  get state(): SaveState {
    return this.known
  }

  /** Resolves once all edits are committed; rejects if the server does not take them, or the document is closed. */
  readonly whenSaved = async (): Promise<void> => {
    while (this.dirty) {
      if (this.closed) throw this.reason ?? new LumenizeError("CONNECTION_LOST", `${this.name} was closed`)
      await new Promise<void>((resolve, reject) => {
        const ends = [this.onState(() => finish()), this.onError((error) => finish(error))]
        const finish = (error?: LumenizeError): void => {
          for (const end of ends) end()
          if (error === undefined) resolve()
          else reject(error)
        }
      })
    }
  }

  /** Be told the state of saving whenever it changes. */
  readonly onState = (callback: (state: SaveState) => void): Unsubscribe => this.changes.add(callback)

  /** The document may not be opened (any more), or an edit was refused. */
  readonly onError = (callback: (error: LumenizeError) => void): Unsubscribe => this.failures.add(callback)

  /**
   * Close the document, and destroy its `doc` unless that was given to `open`. Edits that are not saved are lost with
   * it: wait for `whenSaved()` where that matters.
   */
  readonly destroy = (): void => {
    if (!this.closed) {
      removeAwarenessStates(this.awareness, [this.doc.clientID], "local")
      this.send(CLOSE)
    }
    this.end()
    this.reject(new LumenizeError("CONNECTION_LOST", `${this.name} was closed`))
    this.awareness.destroy()
    if (this.given === undefined) this.doc.destroy()
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

  private send(type: number, write?: (encoder: encoding.Encoder) => void): void {
    if (!this.link.isOpen()) return
    const encoder = encoding.createEncoder()
    encoding.writeVarString(encoder, this.address)
    encoding.writeVarUint(encoder, type)
    write?.(encoder)
    const refusal = this.link.send(encoding.toUint8Array(encoder) as Uint8Array<ArrayBuffer>)
    // not while somebody edits: observers of the document are told of that first
    if (refusal !== null) queueMicrotask(() => this.fail(refusal))
  }

  private begin(): void {
    this.showToken()
    this.send(SYNC, (encoder) => writeSyncStep1(encoder, this.doc))
    if (this.awareness.getLocalState() !== null) this.tellAwareness()
    this.settle()
  }

  private showToken(): void {
    this.send(AUTH, (encoder) => {
      encoding.writeVarUint(encoder, TOKEN)
      encoding.writeVarString(encoder, "") // that of the session
    })
  }

  private lost(): void {
    this.unconfirmed = 0
    this.answered = false
    const others = [...this.awareness.getStates().keys()].filter((client) => client !== this.doc.clientID)
    removeAwarenessStates(this.awareness, others, this)
    // whatever clock the others have when we meet again is news
    for (const client of others) this.awareness.meta.delete(client)
    this.settle()
  }

  private heard(frame: Uint8Array): void {
    const decoder = decoding.createDecoder(frame)
    if (decoding.readVarString(decoder) !== this.address) return
    switch (decoding.readVarUint(decoder)) {
      case SYNC:
      case SYNC_REPLY:
        this.synchronize(decoder)
        break
      case AWARENESS:
        return applyAwarenessUpdate(this.awareness, decoding.readVarUint8Array(decoder), this)
      case QUERY_AWARENESS:
        return this.tellAwareness()
      case AUTH: {
        const kind = decoding.readVarUint(decoder)
        if (kind === TOKEN) return this.showToken() // the server asks for the next one: the session has it
        const text = decoding.readVarString(decoder)
        if (kind === DENIED) return this.fail(this.denied(text))
        this.readonly = text === "readonly"
        break
      }
      case CLOSE:
        return this.fail(this.denied(decoding.hasContent(decoder) ? decoding.readVarString(decoder) : "closed"))
      case SYNC_STATUS:
        if (decoding.readVarUint(decoder) === 1) this.unconfirmed -= 1
        else if (!this.readonly) this.failures.tell(this.denied("an edit was refused"))
        if (this.unconfirmed <= 0 && this.answered) this.dirty = false
    }
    this.settle()
  }

  private synchronize(decoder: decoding.Decoder): void {
    const reply = encoding.createEncoder()
    if (readSyncMessage(decoder, reply, this.doc, this) !== messageYjsSyncStep1) return this.resolve()
    this.answered = true
    this.unconfirmed += 1
    this.send(SYNC, (encoder) => encoding.writeUint8Array(encoder, encoding.toUint8Array(reply)))
  }

  private denied(reason: string): LumenizeError {
    return new LumenizeError("PERMISSION_DENIED", `${this.name}: ${reason}`, { document: this.name })
  }

  private fail(error: LumenizeError): void {
    if (this.closed) return
    this.reason = error
    this.end()
    this.reject(error)
    this.failures.tell(error)
  }

  private readonly edited = (update: Uint8Array, origin: unknown): void => {
    if (origin === this) return
    this.dirty = true
    // before that, what the server lacks is in the answer to its question
    if (this.answered) {
      this.unconfirmed += 1
      this.send(SYNC, (encoder) => writeUpdate(encoder, update))
    }
    this.settle()
  }

  private readonly moved = ({ added, updated, removed }: Record<"added" | "updated" | "removed", number[]>): void => {
    // said by the server, it is a null under a clock that the own state has to go beyond
    if ([...added, ...updated, ...removed].includes(this.doc.clientID)) this.tellAwareness()
  }

  private tellAwareness(): void {
    const states = encodeAwarenessUpdate(this.awareness, [this.doc.clientID])
    this.send(AWARENESS, (encoder) => encoding.writeVarUint8Array(encoder, states))
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

/** `address` is the document's name, and behind a NUL whatever tells this opening of it from another. */
export function openDocument(name: string, address: string, link: DocumentLink, ended: () => void, doc?: Y.Doc): OpenDocument {
  return new OpenDocument(name, address, link, ended, doc)
}
