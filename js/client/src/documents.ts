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
import { Listeners } from "./listeners.js"
import type { Unsubscribe } from "./types.js"

const SYNC = 0
const AWARENESS = 1
const AUTH = 2
const CLOSE = 7
const SYNC_STATUS = 8
const TOKEN = 0
const DENIED = 1

/**
 * `saved`: everything is committed on the server. `saving`: something is on its way. `offline`: something is kept here,
 * and there is no connection. `readonly`: the server does not take edits of this user.
 */
export type SaveState = "saved" | "saving" | "offline" | "readonly"

export class OpenDocument {
  readonly doc: Y.Doc
  readonly awareness: Awareness
  /** Resolves once the document is here; rejects if it may not be opened. */
  readonly synced: Promise<void>
  private unsaved = 0
  private readonly = false
  private known: SaveState = "saving"
  private here = false
  private readonly changes = new Listeners<[SaveState]>()
  private readonly failures = new Listeners<[LumenizeError]>()
  private readonly ends: Unsubscribe[] = []
  private resolve!: () => void
  private reject!: (error: LumenizeError) => void

  constructor(
    readonly name: string,
    private readonly link: DocumentLink,
    private readonly ended: () => void,
  ) {
    this.doc = new Y.Doc()
    this.awareness = new Awareness(this.doc)
    this.synced = new Promise((resolve, reject) => {
      this.resolve = resolve
      this.reject = reject
    })
    this.synced.catch(() => {}) // told to onError as well
    this.doc.on("update", this.edited)
    this.awareness.on("update", this.moved)
    this.ends.push(
      link.onOpen(() => this.begin()),
      link.onClose(() => this.lost()),
      link.onFrame((frame) => this.heard(frame)),
    )
    if (link.isOpen()) this.begin()
    else this.settle()
  }

  /** Whether all edits are committed on the server. */
  get saved(): boolean {
    return this.state === "saved"
  }

  get state(): SaveState {
    return this.known
  }

  /** Be told the state of saving whenever it changes. */
  onState(callback: (state: SaveState) => void): Unsubscribe {
    return this.changes.add(callback)
  }

  onError(callback: (error: LumenizeError) => void): Unsubscribe {
    return this.failures.add(callback)
  }

  /** Close the document. Edits that are not saved are lost with it: wait for `saved` where that matters. */
  destroy(): void {
    for (const end of this.ends.splice(0)) end()
    removeAwarenessStates(this.awareness, [this.doc.clientID], "local")
    this.send(CLOSE, () => {})
    this.doc.off("update", this.edited)
    this.awareness.off("update", this.moved)
    this.awareness.destroy()
    this.ended()
    this.doc.destroy()
  }

  private send(type: number, write: (encoder: encoding.Encoder) => void): void {
    if (!this.link.isOpen()) return
    const encoder = encoding.createEncoder()
    encoding.writeVarString(encoder, this.name)
    encoding.writeVarUint(encoder, type)
    write(encoder)
    this.link.send(encoding.toUint8Array(encoder) as Uint8Array<ArrayBuffer>)
  }

  private begin(): void {
    this.send(AUTH, (encoder) => {
      encoding.writeVarUint(encoder, TOKEN)
      encoding.writeVarString(encoder, "")
    })
    this.unsaved = 1 // what was written before is in the answer to the server's question, and acknowledged with it
    this.send(SYNC, (encoder) => writeSyncStep1(encoder, this.doc))
    if (this.awareness.getLocalState() !== null) this.tellAwareness([this.doc.clientID])
    this.settle()
  }

  private lost(): void {
    const others = [...this.awareness.getStates().keys()].filter((client) => client !== this.doc.clientID)
    removeAwarenessStates(this.awareness, others, this)
    this.settle()
  }

  private heard(frame: Uint8Array): void {
    const decoder = decoding.createDecoder(frame)
    if (decoding.readVarString(decoder) !== this.name) return
    switch (decoding.readVarUint(decoder)) {
      case SYNC: {
        const reply = encoding.createEncoder()
        const type = readSyncMessage(decoder, reply, this.doc, this)
        if (type === messageYjsSyncStep1) this.send(SYNC, (encoder) => encoding.writeUint8Array(encoder, encoding.toUint8Array(reply)))
        else if (!this.here) {
          this.here = true
          this.resolve()
        }
        return
      }
      case AWARENESS:
        applyAwarenessUpdate(this.awareness, decoding.readVarUint8Array(decoder), this)
        return
      case AUTH:
        if (decoding.readVarUint(decoder) === DENIED) this.fail(decoding.readVarString(decoder))
        else this.readonly = decoding.readVarString(decoder) === "readonly"
        return this.settle()
      case CLOSE:
        return this.fail(decoding.hasContent(decoder) ? decoding.readVarString(decoder) : "the document was closed")
      case SYNC_STATUS:
        if (decoding.readVarUint(decoder) === 1) this.unsaved = Math.max(0, this.unsaved - 1)
        return this.settle()
    }
  }

  private fail(reason: string): void {
    const error = new LumenizeError("PERMISSION_DENIED", reason, { document: this.name })
    this.reject(error)
    this.failures.tell(error)
  }

  private readonly edited = (update: Uint8Array, origin: unknown): void => {
    if (origin === this) return
    this.unsaved += 1
    this.send(SYNC, (encoder) => writeUpdate(encoder, update))
    this.settle()
  }

  private readonly moved = (
    { added, updated, removed }: { added: number[]; updated: number[]; removed: number[] },
    origin: unknown,
  ): void => {
    if (origin !== this) this.tellAwareness([...added, ...updated, ...removed])
  }

  private tellAwareness(clients: number[]): void {
    this.send(AWARENESS, (encoder) =>
      encoding.writeVarUint8Array(encoder, encodeAwarenessUpdate(this.awareness, clients)),
    )
  }

  private settle(): void {
    const state = this.readonly
      ? "readonly"
      : this.unsaved === 0
        ? "saved"
        : this.link.isOpen()
          ? "saving"
          : "offline"
    if (state === this.known) return
    this.known = state
    this.changes.tell(state)
  }
}

export function openDocument(name: string, link: DocumentLink, ended: () => void): OpenDocument {
  return new OpenDocument(name, link, ended)
}
