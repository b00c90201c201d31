/** The client, as its keeper sees it. */
import type { Connection, Welcome } from "../connection.js"
import type { DocumentLink } from "../document-link.js"
import type { LumenizeError } from "../errors.js"
import type { Keeper, OwnCollection } from "../keeper.js"
import type { Listeners } from "../listeners.js"
import type { Requests } from "../requests.js"
import type { Subscriptions } from "../subscriptions.js"
import type { Attached, ClientOptions } from "../types.js"

export interface KeptClient extends DocumentLink {
  readonly settings: Pick<ClientOptions, "projectId" | "apiKey"> & { url: string }
  keeper: Keeper | null
  /** What the first connection, `saved()` and documents wait for. */
  loading: Promise<void> | undefined
  welcome: Welcome | null
  readonly connection: Connection
  readonly requests: Requests
  readonly subscriptions: Subscriptions
  readonly pendingChanged: Listeners<[number]>
  readonly documents: ReadonlySet<Attached>
  collection(name: string): OwnCollection
  /** Reports an error that belongs to no call. */
  fail(error: LumenizeError): void
}
