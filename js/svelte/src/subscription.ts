/** Live queries. */
import {
  queryStore,
  type Data,
  type Field,
  type IncludedBy,
  type NameOf,
  type QueryStateOf,
  type QueryWithCondition,
  type ReadOptions,
  type RowOf,
} from "@lumenize/client"
import { LOADING, NO_ROWS, type Store } from "@lumenize/client/stores"
import type { Readable } from "svelte/store"
import { laterClient } from "./client.js"
import { readable, type MaybeQuery } from "./readable.js"

export type SubscriptionOptions<T = Data, F extends Field<T> = Field<T>> = ReadOptions<T, F>

/**
 * The current rows of a query, as a store of `{data, loading, error}`.
 *
 * `query` may be a store itself: `toStore(() => ({ where: { status } }))` follows reactive values. While it is `null`
 * there is no subscription. Stores with the same subscription share one. On a server it is loading.
 */
export function lumenizeSubscription<
  T extends object = never,
  N extends NameOf<T> = NameOf<T>,
  F extends Field<RowOf<T, N>> = Field<RowOf<T, N>>,
  Q extends QueryWithCondition<RowOf<T, N>> = QueryWithCondition<RowOf<T, N>>,
>(
  collection: N,
  query: MaybeQuery<Q, RowOf<T, N>> = {} as MaybeQuery<Q, RowOf<T, N>>,
  options: SubscriptionOptions<RowOf<T, N>, F> = {},
): Readable<QueryStateOf<T, N, F, IncludedBy<Q>>> {
  const client = laterClient()
  return readable<QueryStateOf<T, N, F, IncludedBy<Q>>, QueryWithCondition<RowOf<T, N>> | null>(LOADING, query, (wanted) =>
    wanted === null ? NO_ROWS : (queryStore<T, N, F>(client(), collection, wanted as never, options) as Store<never>),
  )
}
