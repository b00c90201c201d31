/** What the parts of a client share. */
import type { PendingWrite } from "./match.js"
import type { Requests } from "./requests.js"
import type { Subscriptions } from "./subscriptions.js"
import type { Conflict } from "./types.js"

export interface Core {
  readonly requests: Requests
  readonly subscriptions: Subscriptions
  readonly versions: Versions
  /** Show a write in live queries until the returned function is called. */
  expect(write: PendingWrite): () => void
  pendingOf(collection: string): readonly PendingWrite[]
  conflicted(conflicts: Conflict[], context: { collection: string; id: string }): void
}

const MOST = 10_000

/** The last version that this client has seen of each entity. */
export class Versions {
  private readonly seen = new Map<string, number>()

  get(collection: string, id: string): number | undefined {
    return this.seen.get(`${collection}/${id}`)
  }

  see(collection: string, id: string, version: number): void {
    const name = `${collection}/${id}`
    const known = this.seen.get(name) ?? 0
    this.seen.delete(name)
    this.seen.set(name, Math.max(known, version))
    if (this.seen.size > MOST) this.seen.delete(this.seen.keys().next().value as string)
  }
}
