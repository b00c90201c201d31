/** Live queries. */
import { queryStore, type Data, type NameOf, type QueryState, type QueryWithCondition, type ReadOptions, type RowOf } from "@lumenize/client"
import { keyOf, LOADING, NO_ROWS } from "@lumenize/client/stores"
import { toValue, type MaybeRefOrGetter } from "vue"
import { useLumenizeClient } from "./client.js"
import { follow, members, type Refs } from "./refs.js"

export interface SubscriptionOptions<T = Data> extends ReadOptions<T> {
  /** While false there is no subscription. */
  enabled?: MaybeRefOrGetter<boolean>
}

/**
 * The current rows of a query.
 *
 * The collection, the query and `enabled` may be refs or getters: when their values change, so does the subscription.
 * Components with the same subscription share one. On a server it is loading.
 */
export function useLumenizeSubscription<T extends object = Data, N extends string = string>(
  collection: MaybeRefOrGetter<NameOf<T, N>>,
  query: MaybeRefOrGetter<QueryWithCondition<RowOf<T, N>>> = {},
  options: SubscriptionOptions<RowOf<T, N>> = {},
): Refs<QueryState<RowOf<T, N>>> {
  const client = useLumenizeClient()
  const { enabled = true, ...what } = options
  const state = follow<QueryState<RowOf<T, N>>, string>(
    LOADING,
    // compared by value; reading every member of the query makes all of them dependencies
    () => {
      const { condition, ...wanted } = toValue(query)
      return keyOf([toValue(collection), wanted, condition !== undefined, toValue(enabled)])
    },
    () => (toValue(enabled) ? queryStore<T, N>(client, toValue(collection), toValue(query), what) : NO_ROWS),
  )
  return members(state, "data", "loading", "error")
}
