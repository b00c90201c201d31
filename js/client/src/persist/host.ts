/** The keeper, as the parts of it that keep one kind of entry see it. */
import type { KeptClient } from "./kept-client.js"
import type { Store } from "./store.js"

export interface Host {
  readonly core: KeptClient
  /** What is kept of the user of this session; `null` while nobody knows who that is, and without a database. */
  readonly store: Store | null
  /** Runs an operation of the store. Its failure is told, and gives `undefined`. */
  attempt<T>(work: () => Promise<T>): Promise<T | undefined>
  /** Drops what was used least recently, if too much is kept. */
  bound(store: Store): Promise<void>
}
