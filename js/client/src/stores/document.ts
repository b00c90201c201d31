/** A document, as an external store. */
import type { Client } from "../client.js"
import type { OpenDocument, SaveState } from "../documents.js"
import type { LumenizeError } from "../errors.js"
import { asError, constant, perClient, shared, type Store } from "../shared-store.js"
import type { Unsubscribe } from "../types.js"
import { frozen } from "../values.js"

export interface DocumentState {
  /** `null` until the document is open. */
  doc: OpenDocument["doc"] | null
  awareness: OpenDocument["awareness"] | null
  state: SaveState
  /** Whether the server's state has arrived. */
  synced: boolean
  error: LumenizeError | null
}

export const UNOPENED: DocumentState = frozen({ doc: null, awareness: null, state: "saving", synced: false, error: null })

/** A store without a document. */
export const NO_DOCUMENT: Store<DocumentState> = constant(UNOPENED)

/** `doc_123` is short for `documents/doc_123`. */
export const nameOf = (room: string): string => (room.includes("/") ? room : `documents/${room}`)

/** The last store to open each document: only it may close the document. */
const holders = perClient(() => new Map<string, object>())

/** A document: the first subscriber opens it; after the last has left it is closed, once it is saved. */
export function documentStore(client: Client, id: string): Store<DocumentState> {
  const name = nameOf(id)
  return shared(client, `document ${name}`, UNOPENED, (set) => {
    const self = {}
    let state = UNOPENED
    let open: OpenDocument | null = null
    let ends: Unsubscribe[] = []
    let ended = false
    const change = (more: Partial<DocumentState>): void => {
      if (!ended) set((state = { ...state, ...more }))
    }
    const failed = (error: unknown): void => change({ error: asError(error) })
    const arrive = (it: OpenDocument): void => {
      it.synced.then(
        () => open === it && change({ synced: true, state: it.state, error: null }),
        (error) => open === it && failed(error),
      )
    }
    const start = (): void => {
      holders(client).set(name, self)
      client.documents.open(name).then((it) => {
        if (ended) return close(it)
        open = it
        ends = [it.onState((next) => change({ state: next })), it.onError(failed)]
        change({ doc: it.doc, awareness: it.awareness, state: it.state, synced: false, error: null })
        arrive(it)
      }, failed)
    }
    const finish = (): void => {
      for (const end of ends.splice(0)) end()
      if (open !== null) close(open)
      open = null
    }
    // a component that mounts before it was closed gets the same document
    const destroy = (it: OpenDocument): void => {
      if (holders(client).get(name) !== self) return
      holders(client).delete(name)
      it.destroy()
    }
    const close = (it: OpenDocument): void => {
      if (it.saved || it.state === "readonly" || it.state === "closed" || state.error !== null) return destroy(it)
      // closing it now would lose unsaved edits
      const stop = it.onState((next) => {
        if (next === "saving" || next === "offline") return
        stop()
        destroy(it)
      })
    }
    // the next session may belong to a user who may open it; a closed document keeps its unsaved edits
    const again = (): void => {
      if (open !== null && open.state !== "closed" && !state.synced) arrive(open)
      if (open?.state !== "closed" || !open.saved) return
      finish()
      start()
    }
    const stops = [client.onConnect(again), client.onReconnect(again)]
    start()
    return () => {
      ended = true
      for (const stop of stops) stop()
      finish()
    }
  })
}
