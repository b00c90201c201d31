/** The client, as its open documents see it. */
import type { LumenizeError } from "./errors.js"
import type { Keeper } from "./keeper.js"
import type { Turn } from "./listeners.js"
import type { Attached, Over, Unsubscribe } from "./types.js"

/** The part of the client that documents use. */
export interface DocumentLink {
  readonly turn: Turn
  isOpen(): boolean
  /** `null` while the client connects, and before it first does. */
  readonly over: Over | null
  /** Returns an error if the server would refuse the frame. */
  sendFrame(frame: Uint8Array<ArrayBuffer>): LumenizeError | null
  attach(document: Attached): Unsubscribe
  /** The number of what is unsaved may have changed. */
  pending(): void
  /** Resolves once what is kept is known, if anything is. */
  readonly loading: Promise<void> | undefined
  /** What keeps documents across page loads. */
  readonly keeper: Keeper | null
}
