"use client"
/** Live aggregates, and lists that grow page by page. */
import { type Aggregate, type Data, type NameOf, type RowOf } from "@lumenize/client"
import {
  aggregateStore,
  keyOf,
  NO_GROUPS,
  NO_PAGE,
  NO_PAGES,
  pagesStore,
  UNCOUNTED,
  type AggregateState,
  type PagesOptions as Paging,
  type PagesQuery,
  type PagesState,
} from "@lumenize/client/stores"
import { useMemo, useSyncExternalStore } from "react"
import { useLumenizeClient } from "./client.js"

export interface AggregateOptions {
  /** While false there is no subscription. */
  enabled?: boolean
}

export interface PagesOptions<T = Data> extends Paging<T> {
  /** While false there is no subscription. */
  enabled?: boolean
}

/** The groups of an aggregate: counts and sums, at once and after each change. On a server it is loading. */
export function useLumenizeAggregate<T extends object = Data, N extends string = string>(
  collection: NameOf<T, N>,
  query: Aggregate<NoInfer<RowOf<T, N>>> = {},
  options: AggregateOptions = {},
): AggregateState {
  const { enabled = true } = options
  const client = useLumenizeClient()
  const key = keyOf([collection, query])
  // `key` stands for the collection and the query
  const store = useMemo(() => (enabled ? aggregateStore<T, N>(client, collection, query) : NO_GROUPS), [client, key, enabled])
  return useSyncExternalStore(store.subscribe, store.getSnapshot, enabled ? uncounted : NO_GROUPS.getSnapshot)
}

/**
 * The first rows of a query, and more with each `loadMore`. All of them stay live.
 *
 * Another query, compared by value, begins with one page. On a server it is loading.
 */
export function useLumenizePages<T extends object = Data, N extends string = string>(
  collection: NameOf<T, N>,
  query: PagesQuery<RowOf<T, N>> = {},
  options: PagesOptions<RowOf<T, N>> = {},
): PagesState<RowOf<T, N>> {
  const { enabled = true, ...paging } = options
  const client = useLumenizeClient()
  const key = keyOf([collection, query, paging])
  const store = useMemo(() => (enabled ? pagesStore<T, N>(client, collection, query, paging) : NO_PAGES), [client, key, enabled])
  return useSyncExternalStore<PagesState<RowOf<T, N>>>(store.subscribe, store.getSnapshot, enabled ? firstPage : NO_PAGES.getSnapshot)
}

const uncounted = (): AggregateState => UNCOUNTED
const firstPage = (): PagesState<never> => NO_PAGE
