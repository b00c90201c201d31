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
import type { DocumentLink } from "./document-link.js"
import { connectionLost, invalid, LumenizeError, type ErrorCode } from "./errors.js"
import { guarded, Listeners, quiet } from "./listeners.js"
import type { KeptContent } from "./keeper.js"
import type { Over, Unsubscribe } from "./types.js"
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
  /** An edit was refused on this connection, which confirms none any more. */
  private refusal: LumenizeError | null = null
  /** Others do not see the newest awareness state. */
  private hidden: LumenizeError | null = null
  /** Whether the server's state has arrived. */
  private arrived = false
  /** The promise of that, for as long as the client connects, or has stopped for this reason. */
  private arrival: { promise: Promise<void>; over: Over | null } | null = null
  private known: { state: SaveState; error: LumenizeError | null; unsaved: boolean } = { state: "saved", error: null, unsaved: false }
  private readonly changes: Listeners<[SaveState]>
  private readonly failures: Listeners<[LumenizeError]>
  private readonly waiting = new Set<Waiting>()
  private readonly detach: Unsubscribe

  constructor(
    private readonly yjs: Yjs,
    readonly name: string,
    private readonly address: string,
    private readonly link: DocumentLink,
    private readonly ended: () => void,
    private readonly given?: Doc,
    kept?: KeptContent,
  ) {
    this.doc = given ?? new yjs.Y.Doc()
    this.dirty = this.doc.store.clients.size > 0 || kept?.unsaved === true // the server may lack its content
    kept?.fill(this.doc)
    this.awareness = new yjs.awareness.Awareness(this.doc)
    const { _checkInterval: timer } = this.awareness as { _checkInterval?: { unref?: () => void } }
    timer?.unref?.() // does not keep Node running; the connection does while there is one
    isolate(this.doc)
    isolate(this.awareness)
    this.changes = new Listeners(link.turn)
    this.failures = new Listeners(link.turn)
    this.doc.on("update", this.edited)
    this.awareness.on("update", this.moved)
    const isUnsaved = (): boolean => this.unsaved
    this.detach = link.attach({
      get unsaved() {
        return isUnsaved()
      },
      opened: () => this.begin(),
      closed: () => this.lost(),
      stopped: (over) => this.stopped(over),
      frame: (frame) => this.heard(frame),
      // one user's edits are not sent as another's
      userChanged: (error, all = false) => (all || this.dirty) && this.fail(error),
    })
    if (link.isOpen()) this.begin()
    else this.settle()
  }

  /**
   * Resolves once the document has arrived; rejects if opening it is refused, the document is closed, or the client has
   * stopped connecting. It is the same promise until the client connects again, so React's `use` can wait for it.
   */
  get synced(): Promise<void> {
    const { over } = this.link
    if (this.arrival === null || this.arrival.over !== over) {
      this.arrival = { promise: quiet(this.until(() => this.arrived, () => null)), over }
    }
    return this.arrival.promise
  }

  /** Whether all edits are committed on the server. */
  get saved(): boolean {
    return !this.dirty
  }

  /** Whether it has edits that the server may lack, and has not refused. */
  get unsaved(): boolean {
    return this.dirty && !this.readonly && this.refusal === null && this.reason === null
  }

  get state(): SaveState {
    return this.known.state
  }

  /** Why an edit or the awareness state is refused, or the document or the client has ended; `null` once that is over. */
  get error(): LumenizeError | null {
    const over = this.link.over
    return this.reason ?? (this.readonly ? null : this.refusal) ?? (over?.wanted === false && !this.closed ? over.reason : this.hidden)
  }

  /**
   * Resolves once all edits are committed; rejects if the server refuses them, the document is closed, or the client has
   * stopped connecting.
   */
  readonly whenSaved = (): Promise<void> => this.until(() => !this.dirty, () => this.refusal)

  /** Resolves once `isDone`; rejects with what makes that impossible, also if that is known already. */
  private until(isDone: () => boolean, obstacle: () => LumenizeError | null): Promise<void> {
    return new Promise((resolve, reject) => {
      this.waiting.add({ isDone, obstacle, resolve, reject })
      this.answer()
    })
  }

  private answer(over: Over | null = this.link.over): void {
    const end = this.reason ?? (this.closed ? connectionLost(`${this.name} was closed`) : (over?.reason ?? null))
    for (const each of this.waiting) {
      const error = end ?? each.obstacle()
      if (each.isDone()) each.resolve()
      else if (error !== null) each.reject(error)
      else continue
      this.waiting.delete(each)
    }
  }

  /** Calls `callback` after each change of `state` or `error`. */
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
    this.awareness.destroy()
    if (this.given === undefined) guarded(() => this.doc.destroy())
  }

  private end(): void {
    if (this.closed) return
    this.closed = true
    this.detach()
    this.doc.off("update", this.edited)
    this.awareness.off("update", this.moved)
    this.ended()
    this.settle()
  }

  private send(type: number, write?: (encoder: Encoder) => void): LumenizeError | null {
    if (!this.link.isOpen()) return null
    const encoder = this.yjs.encoding.createEncoder()
    this.yjs.encoding.writeVarString(encoder, this.address)
    this.yjs.encoding.writeVarUint(encoder, type)
    write?.(encoder)
    const refusal = this.link.sendFrame(this.yjs.encoding.toUint8Array(encoder) as Uint8Array<ArrayBuffer>)
    if (refusal === null) return null
    // not during the edit, so that observers of the document run first
    if (type !== AWARENESS) queueMicrotask(() => this.fail(refusal))
    return refusal
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
    this.refusal = null // the next connection may accept it
    const others = [...this.awareness.getStates().keys()].filter((client) => client !== this.doc.clientID)
    this.yjs.awareness.removeAwarenessStates(this.awareness, others, this)
    // so that their states after a reconnect are accepted with any clock
    for (const client of others) this.awareness.meta.delete(client)
    this.settle()
  }

  /** The client has given up connecting, or was disconnected. Edits wait for the next connection. */
  private stopped(over: Over): void {
    this.arrival = null
    this.answer(over) // whoever is told before may connect again
    this.settle()
    if (!over.wanted) this.failures.tell(over.reason)
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
        else {
          this.refusal = this.denied("an edit was refused")
          if (!this.readonly) this.failures.tell(this.refusal)
        }
        if (this.unconfirmed <= 0 && this.answered) this.dirty = false
    }
    this.settle()
  }

  private synchronize(decoder: Decoder): void {
    const { decoding, sync } = this.yjs
    const kind = decoding.readVarUint(decoder)
    const body = decoding.readVarUint8Array(decoder)
    if (kind !== sync.messageYjsSyncStep1) {
      this.apply(body)
      this.arrived = true
      return
    }
    if (!this.answered) this.unconfirmed += 1 // the server confirms only the first answer
    this.answered = true
    this.send(SYNC, (encoder) => sync.writeSyncStep2(encoder, this.doc, body))
  }

  /** Throws if the update cannot be read. What observers of the application throw is reported. */
  private apply(update: Uint8Array): void {
    const { Y } = this.yjs
    let fault: { error: unknown } | undefined
    const read = (): void => {
      try {
        Y.applyUpdate(this.doc, update, this)
      } catch (error) {
        fault = { error }
      }
    }
    // the observers run at the end of the outer transaction
    guarded(() => Y.transact(this.doc, read, this, false))
    if (fault !== undefined) throw fault.error
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

  /** If the state is too large, or JSON cannot represent it, others do not see it, and edits continue. */
  private tellAwareness(): void {
    try {
      const states = this.yjs.awareness.encodeAwarenessUpdate(this.awareness, [this.doc.clientID])
      this.hidden = this.send(AWARENESS, (encoder) => this.yjs.encoding.writeVarUint8Array(encoder, states))
    } catch (error) {
      this.hidden = invalid(`${this.name}: the awareness state cannot be sent: ${String(error)}`)
    }
    if (this.hidden !== null) this.failures.tell(this.hidden)
    this.settle()
  }

  private settle(): void {
    let state: SaveState = "saved"
    if (this.closed) state = "closed"
    else if (this.readonly) state = "readonly"
    else if (this.dirty) state = this.link.isOpen() ? "saving" : "offline"
    const { error, known } = this
    const unsaved = !this.closed && this.unsaved
    this.known = { state, error, unsaved }
    this.answer()
    if (state !== known.state || error !== known.error) this.changes.tell(state)
    if (unsaved !== known.unsaved) this.link.pending() // last: what keeps a closed document counts it from now on
  }
}

/** A promise that waits for a condition of a document. */
interface Waiting {
  isDone(): boolean
  /** Why it cannot become true, beside the end of the document or the client. */
  obstacle(): LumenizeError | null
  resolve(): void
  reject(error: LumenizeError): void
}

interface Emitter {
  _observers: Map<string, Set<(...args: unknown[]) => unknown>>
  emit(name: string, args: unknown[]): void
}

/**
 * Lets each listener of a document or an awareness hear everything, whatever the others throw: ours, which sends it, is
 * one of them. After an exception in one of its own events, Yjs would tell nobody of later edits.
 */
function isolate(target: Doc | Awareness): void {
  const emitter = target as unknown as Emitter
  emitter.emit = (name, args) => {
    for (const call of [...(emitter._observers.get(name) ?? [])]) guarded(() => call(...args))
  }
}

/**
 * `address` is the document's name, followed by a NUL and a number if it was opened before.
 * Rejects with `INVALID_REQUEST` if Yjs is not installed.
 */
export async function openDocument(name: string, address: string, link: DocumentLink, ended: () => void, doc?: Doc): Promise<OpenDocument> {
  const yjs = await loadYjs()
  await link.loading
  const kept = await link.keeper?.document(name, yjs)
  const document = new OpenDocument(yjs, name, address, link, ended, doc, kept)
  kept?.follow(document)
  return document
}
