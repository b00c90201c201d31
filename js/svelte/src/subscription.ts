/** Live queries. */
import { queryStore, type Data, type QueryState, type QueryWithCondition } from "@lumenize/client"
import { LOADING, NO_ROWS } from "@lumenize/client/stores"
import type { Readable } from "svelte/store"
import { laterClient } from "./client.js"
import { readable, type MaybeStore } from "./readable.js"

export interface SubscriptionOptions {
  /** Only these fields of each row. */
  fields?: string[]
  /** Whether each row comes with what this user may do with it. */
  includePermissions?: boolean
}

/**
 * The rows of a query, now and whenever they change, as a store of `{data, loading, error}`.
 *
 * `query` may be a store itself: `toStore(() => ({ where: { status } }))` follows what is reactive in it. While it is
 * `null` there is no subscription. All who ask for the same share one subscription. On a server it is loading.
 */
export function lumenizeSubscription<T extends Data = Data>(
  collection: string,
  query: MaybeStore<QueryWithCondition | null> = {},
  options: SubscriptionOptions = {},
): Readable<QueryState<T>> {
  const client = laterClient()
  return readable<QueryState<T>, QueryWithCondition | null>(LOADING, query, (wanted) =>
    wanted === null ? NO_ROWS : queryStore<T>(client(), collection, wanted, options),
  )
}
