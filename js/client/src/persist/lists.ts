/** Keeps the last rows of live lists, and shows them until the server answers. */
import type { Data } from "../schema.js"
import type { Subscription } from "../subscription.js"
import { storageFailed } from "./database.js"
import type { Host } from "./host.js"
import { contentOf, isLoading, keepable, nameOf, readRows, relationsOf, writeRows, type List } from "./rows.js"

export class Lists {
  /** Live lists, and their content that is kept already. */
  private readonly lists = new Map<List, readonly Data[] | null>()

  /** A list of more than `maxBytes` is not kept. */
  constructor(
    private readonly host: Host,
    private readonly maxBytes: number,
  ) {}

  /** A subscription waits for its first answer. */
  begun(subscription: Subscription): void {
    const { store } = this.host
    if (store === null || !keepable(subscription)) return
    this.lists.set(subscription, null)
    const target = nameOf(subscription)
    void this.host.attempt(async () => {
      const text = await store.rows(target)
      if (text === undefined || this.host.store !== store || subscription.ended || contentOf(subscription) !== null || isLoading(subscription)) return
      const message = readRows(text, subscription.sub, relationsOf(subscription))
      if (message !== null) {
        subscription.tell(message)
        return void this.lists.set(subscription, contentOf(subscription))
      }
      await store.forget("rows", target)
      this.host.core.fail(storageFailed("corrupt", { entries: "rows", target: subscription.target }))
    })
  }

  /** Writes the lists that have changed since, and forgets those that the server has refused or ended. */
  readonly keep = (): void => {
    const { store } = this.host
    if (store === null) return
    let hasGrown = false
    const active = new Set([...this.host.core.subscriptions.active.values()].map(({ subscription }) => subscription))
    for (const [list, kept] of this.lists) {
      const target = nameOf(list)
      if (!active.has(list)) this.lists.delete(list)
      if (!active.has(list) && !list.ended) void this.host.attempt(() => store.forget("rows", target))
      else if (contentOf(list) !== kept) {
        this.lists.set(list, contentOf(list))
        const text = writeRows(list)
        const fits = text.length <= this.maxBytes // otherwise what was kept before is no longer true
        hasGrown ||= fits
        void this.host.attempt(() => (fits ? store.putRows(target, text) : store.forget("rows", target)))
      }
    }
    if (hasGrown) void this.host.bound(store)
  }

  /** The session of a user is over: keeps what its lists show, once more. It is not kept as another's. */
  leave(): void {
    this.keep()
    this.lists.clear()
  }

  /** The user has signed out: keeps nothing more. */
  forget(): void {
    this.lists.clear()
  }
}
