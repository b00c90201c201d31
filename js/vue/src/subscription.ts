/** Live queries. */
import { queryStore, type Data, type QueryState, type QueryWithCondition } from "@lumenize/client"
import { LOADING, NO_ROWS } from "@lumenize/client/stores"
import { toValue, type MaybeRefOrGetter } from "vue"
import { useLumenizeClient } from "./client.js"
import { follow, members, type Refs } from "./refs.js"

export interface SubscriptionOptions {
  /** Only these fields of each row. */
  fields?: string[]
  /** Whether each row comes with what this user may do with it. */
  includePermissions?: boolean
  /** While it is false there is no subscription. */
  enabled?: MaybeRefOrGetter<boolean>
}

/**
 * The rows of a query, now and whenever they change.
 *
 * The collection, the query and `enabled` may be refs or getters: when their values change, so does the subscription.
 * All components that ask for the same share one subscription. On a server it is loading.
 */
export function useLumenizeSubscription<T extends Data = Data>(
  collection: MaybeRefOrGetter<string>,
  query: MaybeRefOrGetter<QueryWithCondition> = {},
  options: SubscriptionOptions = {},
): Refs<QueryState<T>> {
  const client = useLumenizeClient()
  const { enabled = true, ...what } = options
  const state = follow<QueryState<T>, string>(
    LOADING,
    // by value, and every member of the query is read, so that all of them are followed
    () => {
      const wanted = toValue(query)
      return JSON.stringify([toValue(collection), wanted, wanted.condition !== undefined, toValue(enabled)])
    },
    () => (toValue(enabled) ? queryStore<T>(client, toValue(collection), toValue(query), what) : NO_ROWS),
  )
  return members(state, "data", "loading", "error")
}
