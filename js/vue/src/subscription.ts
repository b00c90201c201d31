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
import { keyOf, LOADING, NO_ROWS, type Store } from "@lumenize/client/stores"
import { toValue, type MaybeRefOrGetter } from "vue"
import { useLumenizeClient } from "./client.js"
import { follow, members, type MaybeQuery, type Refs } from "./refs.js"

export interface SubscriptionOptions<T = Data, F extends Field<T> = Field<T>> extends ReadOptions<T, F> {
  /** While false there is no subscription. */
  enabled?: MaybeRefOrGetter<boolean>
}

/**
 * The current rows of a query.
 *
 * The collection, the query and `enabled` may be refs or getters: when their values change, so does the subscription.
 * Components with the same subscription share one. On a server it is loading.
 */
export function useLumenizeSubscription<
  T extends object = never,
  N extends NameOf<T> = NameOf<T>,
  F extends Field<RowOf<T, N>> = Field<RowOf<T, N>>,
  Q extends QueryWithCondition<RowOf<T, N>> = QueryWithCondition<RowOf<T, N>>,
>(
  collection: MaybeRefOrGetter<N>,
  query: MaybeQuery<Q, RowOf<T, N>> = {} as MaybeQuery<Q, RowOf<T, N>>,
  options: SubscriptionOptions<RowOf<T, N>, F> = {},
): Refs<QueryStateOf<T, N, F, IncludedBy<Q>>> {
  const client = useLumenizeClient()
  const { enabled = true, ...what } = options
  const state = follow<QueryStateOf<T, N, F, IncludedBy<Q>>, string>(
    LOADING,
    // compared by value; reading every member of the query makes all of them dependencies
    () => {
      const { condition, ...wanted } = toValue(query)
      return keyOf([toValue(collection), wanted, condition !== undefined, toValue(enabled)])
    },
    () => (toValue(enabled) ? (queryStore<T, N, F>(client, toValue(collection), toValue(query) as never, what) as Store<never>) : NO_ROWS),
  )
  return members(state, "data", "loading", "error")
}
