/** Live queries. */
import { queryStore, type Data, type NameOf, type QueryState, type QueryWithCondition, type ReadOptions, type RowOf } from "@lumenize/client"
import { LOADING, NO_ROWS } from "@lumenize/client/stores"
import type { Readable } from "svelte/store"
import { laterClient } from "./client.js"
import { readable, type MaybeStore } from "./readable.js"

export type SubscriptionOptions<T = Data> = ReadOptions<T>

/**
 * The current rows of a query, as a store of `{data, loading, error}`.
 *
 * `query` may be a store itself: `toStore(() => ({ where: { status } }))` follows reactive values. While it is `null`
 * there is no subscription. Stores with the same subscription share one. On a server it is loading.
 */
export function lumenizeSubscription<T extends object = Data, N extends string = string>(
  collection: NameOf<T, N>,
  query: MaybeStore<QueryWithCondition<RowOf<T, N>> | null> = {},
  options: SubscriptionOptions<RowOf<T, N>> = {},
): Readable<QueryState<RowOf<T, N>>> {
  const client = laterClient()
  return readable<QueryState<RowOf<T, N>>, QueryWithCondition<RowOf<T, N>> | null>(LOADING, query, (wanted) =>
    wanted === null ? NO_ROWS : queryStore<T, N>(client(), collection, wanted, options),
  )
}
