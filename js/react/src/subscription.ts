/** Live queries. */
import { queryStore, type Data, type QueryState, type QueryWithCondition } from "@lumenize/client"
import { LOADING, NO_ROWS } from "@lumenize/client/stores"
import { useEffect, useMemo, useRef, useSyncExternalStore } from "react"
import { useLumenizeClient } from "./client.js"

export interface SubscriptionOptions {
  /** Only these fields of each row. */
  fields?: string[]
  /** Whether each row comes with what this user may do with it. */
  includePermissions?: boolean
  /** While it is false there is no subscription. */
  enabled?: boolean
}

/**
 * The rows of a query, now and whenever they change.
 *
 * Queries are compared by value: an object that is made anew in each render is the same query. All components that
 * ask for the same share one subscription. On a server it is loading.
 */
export function useLumenizeSubscription<T extends Data = Data>(
  collection: string,
  query: QueryWithCondition = {},
  options: SubscriptionOptions = {},
): QueryState<T> {
  const client = useLumenizeClient()
  const { condition, ...plain } = query
  const { fields, includePermissions, enabled = true } = options
  // a function made anew in each render is the same question, asked by its newest form
  const newest = useRef(condition)
  useEffect(() => {
    newest.current = condition
  })
  const conditional = condition !== undefined
  const key = JSON.stringify([collection, plain, fields, includePermissions])
  const store = useMemo(
    () =>
      enabled
        ? queryStore<T>(
            client,
            collection,
            conditional ? { ...plain, condition: () => newest.current?.() ?? true } : plain,
            { ...(fields && { fields }), ...(includePermissions && { includePermissions }) },
          )
        : NO_ROWS,
    // `key` stands for the query and the options
    [client, key, enabled, conditional],
  )
  return useSyncExternalStore<QueryState<T>>(store.subscribe, store.getSnapshot, enabled ? loading : NO_ROWS.getSnapshot)
}

const loading = (): QueryState<never> => LOADING
