/** The other side of one document, which is the test. */
import * as decoding from "lib0/decoding"
import * as encoding from "lib0/encoding"
import { expect } from "vitest"
import { Awareness, encodeAwarenessUpdate } from "y-protocols/awareness"
import { writeSyncStep1, writeSyncStep2 } from "y-protocols/sync"
import * as Y from "yjs"
import { OpenDocument } from "../src/documents.js"
import { connectionLost, type LumenizeError } from "../src/errors.js"
import { inTurn } from "../src/listeners.js"
import type { Attached, Over } from "../src/types.js"
import { loadYjs } from "../src/yjs.js"

const yjs = await loadYjs()

export const SYNC = 0
export const AWARENESS = 1
export const AUTH = 2
export const CLOSE = 7
export const STATUS = 8

export class Server {
  open = true
  readonly doc = new Y.Doc()
  readonly sent: { type: number; decoder: decoding.Decoder }[] = []
  /** The open document, as its client tells it what happens. */
  attached: Attached | null = null
  over: Over | null = null
  refusal: LumenizeError | null = null
  /** How often the client was told that what is unsaved may have changed. */
  pendings = 0
  readonly client: OpenDocument
  ended = 0

  constructor(readonly address = "documents/d", given?: Y.Doc) {
    const server = (): Server => this
    this.client = new OpenDocument(
      yjs,
      "documents/d",
      address,
      {
        isOpen: () => this.open,
        sendFrame: (frame) => {
          const decoder = decoding.createDecoder(frame)
          expect(decoding.readVarString(decoder)).toBe(address)
          this.sent.push({ type: decoding.readVarUint(decoder), decoder })
          return this.refusal
        },
        turn: inTurn(),
        loading: undefined,
        keeper: null,
        pending: () => (this.pendings += 1),
        get over() {
          return server().over
        },
        attach: (document) => {
          this.attached = document
          return () => (this.attached = null)
        },
      },
      () => (this.ended += 1),
      given,
    )
  }

  say(type: number, write: (encoder: encoding.Encoder) => void, address = this.address): void {
    const encoder = encoding.createEncoder()
    encoding.writeVarString(encoder, address)
    encoding.writeVarUint(encoder, type)
    write(encoder)
    this.attached?.frame(encoding.toUint8Array(encoder))
  }

  let(scope: string): void {
    this.say(AUTH, (encoder) => {
      encoding.writeVarUint(encoder, 2)
      encoding.writeVarString(encoder, scope)
    })
  }

  ask(): void {
    this.say(SYNC, (encoder) => writeSyncStep1(encoder, this.doc))
  }

  answer(): void {
    this.say(SYNC, (encoder) => writeSyncStep2(encoder, this.doc))
  }

  confirm(saved = 1): void {
    this.say(STATUS, (encoder) => encoding.writeVarUint(encoder, saved))
  }

  begin(): void {
    this.let("read-write")
    this.ask()
    this.answer()
    this.confirm()
  }

  cut(): void {
    this.open = false
    this.attached?.closed()
  }

  back(): void {
    this.over = null
    this.open = true
    this.attached?.opened()
  }

  /** The client gives up or, without an error, is disconnected. */
  stop(error: LumenizeError | null): void {
    this.cut()
    this.over = { reason: error ?? connectionLost("disconnected"), wanted: error === null }
    this.attached?.stopped(this.over)
  }

  get types(): number[] {
    return this.sent.splice(0).map(({ type }) => type)
  }
}

/** Somebody else shows who they are. */
export function other(to: Server, name: string): void {
  const awareness = new Awareness(new Y.Doc({ guid: "x" }))
  awareness.clientID = 7
  for (const state of [{}, { name }]) awareness.setLocalState(state)
  to.say(AWARENESS, (encoder) => encoding.writeVarUint8Array(encoder, encodeAwarenessUpdate(awareness, [7])))
  awareness.destroy()
}
