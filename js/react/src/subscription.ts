"use client"
/** Live queries. */
import {
  queryStore,
  type Data,
  type Field,
  type IncludeOf,
  type Including,
  type NameOf,
  type Nothing,
  type QueryState,
  type QueryStateOf,
  type QueryWithCondition,
  type ReadOptions,
  type RowOf,
} from "@lumenize/client"
import { keyOf, LOADING, NO_ROWS } from "@lumenize/client/stores"
import { useEffect, useMemo, useRef, useSyncExternalStore } from "react"
import { useLumenizeClient } from "./client.js"

export interface SubscriptionOptions<T = Data, F extends Field<T> = Field<T>> extends ReadOptions<T, F> {
  /** While false there is no subscription. */
  enabled?: boolean
}

/**
 * The current rows of a query.
 *
 * Queries are compared by value: a new object with the same content is the same query. Components with the same
 * subscription share one. On a server it is loading.
 */
export function useLumenizeSubscription<
  T extends object = never,
  N extends NameOf<T> = NameOf<T>,
  F extends Field<RowOf<T, N>> = Field<RowOf<T, N>>,
  I extends IncludeOf<RowOf<T, N>> = Nothing,
>(
  collection: N,
  query: NoInfer<QueryWithCondition<RowOf<T, N>>> & Including<RowOf<T, N>, I> = {},
  options: SubscriptionOptions<RowOf<T, N>, F> = {},
): QueryStateOf<T, N, F, I> {
  const client = useLumenizeClient()
  const { condition, ...plain } = query
  const { fields, includePermissions, enabled = true } = options
  // a new function in each render does not change the subscription, which calls the newest one
  const newest = useRef(condition)
  useEffect(() => {
    newest.current = condition
  })
  const conditional = condition !== undefined
  const key = keyOf([collection, plain, fields, includePermissions])
  const store = useMemo(
    () =>
      enabled
        ? queryStore<T, N, F, I>(
            client,
            collection,
            (conditional ? { ...plain, condition: () => newest.current?.() ?? true } : plain) as never,
            { ...(fields && { fields }), ...(includePermissions && { includePermissions }) },
          )
        : NO_ROWS,
    // `key` stands for the query and the options
    [client, key, enabled, conditional],
  )
  return useSyncExternalStore<QueryStateOf<T, N, F, I>>(store.subscribe, store.getSnapshot, enabled ? loading : NO_ROWS.getSnapshot)
}

const loading = (): QueryState<never> => LOADING
