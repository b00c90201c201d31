/** A document, as an external store. */
import type { Client } from "../client.js"
import { CORE } from "../core.js"
import type { OpenDocument, SaveState } from "../documents.js"
import type { LumenizeError } from "../errors.js"
import { checkName } from "../options.js"
import { asError, constant, perClient, shared, type Store } from "../shared-store.js"
import type { Unsubscribe } from "../types.js"
import { frozen } from "../frozen.js"

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

/** `doc_123` is short for `documents/doc_123`. Throws `INVALID_REQUEST` if it is not a string. */
export function nameOf(room: string): string {
  checkName("the name of a document", room)
  return room.includes("/") ? room : `documents/${room}`
}

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
    let failed = false
    const change = (more: Partial<DocumentState>): void => {
      if (!ended) set((state = { ...state, ...more }))
    }
    /** Shows how a document is now: an error only as long as it lasts. */
    const show = (it: OpenDocument, more: Partial<DocumentState> = {}): void => {
      if (open === it) change({ state: it.state, error: it.error, ...more })
    }
    const arrive = (it: OpenDocument): void => {
      it.synced.then(
        () => show(it, { synced: true }),
        () => show(it),
      )
    }
    const start = (): void => {
      failed = false
      holders(client).set(name, self)
      client.documents.open(name).then(
        (it) => {
          if (ended) return close(it)
          open = it
          ends = [it.onState(() => show(it)), it.onError(() => show(it))]
          show(it, { doc: it.doc, awareness: it.awareness, synced: false })
          arrive(it)
        },
        (error) => {
          failed = true
          change({ error: asError(error) })
        },
      )
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
      const isOver = (): boolean => it.saved || it.state === "readonly" || it.state === "closed"
      if (isOver()) return destroy(it)
      // closing it now would lose unsaved edits
      let told = it.error
      const stop = it.onState(() => {
        if (holders(client).get(name) !== self) return stop()
        const { error } = it
        // no component is left to be told; the client's own end is known already
        if (error !== null && error !== told && error !== client[CORE].over?.reason) client[CORE].fail(error)
        told = error
        if (!isOver()) return
        stop()
        destroy(it)
      })
    }
    // the next session may belong to a user who may open it; a closed document keeps its unsaved edits
    const again = (): void => {
      if (open !== null && open.state !== "closed") {
        show(open)
        if (!state.synced) arrive(open)
      } else if (open === null ? failed : open.saved) {
        finish()
        start()
      }
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
