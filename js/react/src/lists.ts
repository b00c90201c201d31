"use client"
/** Live aggregates, and lists that grow page by page. */
import type { Aggregate, Data, Field, GroupOf, IncludeOf, Including, NameOf, Nothing, Right, RowOf } from "@lumenize/client"
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
  type PagesStateOf,
} from "@lumenize/client/stores"
import { useMemo, useSyncExternalStore } from "react"
import { useLumenizeClient } from "./client.js"

export interface AggregateOptions {
  /** While false there is no subscription. */
  enabled?: boolean
}

export interface PagesOptions<T = Data, F extends Field<T> = Field<T>> extends Paging<T, F> {
  /** While false there is no subscription. */
  enabled?: boolean
}

/** The groups of an aggregate: counts and sums, at once and after each change. On a server it is loading. */
export function useLumenizeAggregate<T extends object = never, N extends NameOf<T> = NameOf<T>, Q extends Aggregate<RowOf<T, N>> = Aggregate<RowOf<T, N>>>(
  collection: N,
  query: Q & Right<Q, RowOf<T, N>, Aggregate<RowOf<T, N>>> = {} as Q & Right<Q, RowOf<T, N>, Aggregate<RowOf<T, N>>>,
  options: AggregateOptions = {},
): AggregateState<GroupOf<RowOf<T, N>, Q>> {
  const { enabled = true } = options
  const client = useLumenizeClient()
  const key = keyOf([collection, query])
  // `key` stands for the collection and the query
  const store = useMemo(() => (enabled ? aggregateStore<T, N, Q>(client, collection, query as never) : NO_GROUPS), [client, key, enabled])
  return useSyncExternalStore<AggregateState<GroupOf<RowOf<T, N>, Q>>>(store.subscribe, store.getSnapshot, enabled ? uncounted : NO_GROUPS.getSnapshot)
}

/**
 * The first rows of a query, and more with each `loadMore`. All of them stay live.
 *
 * Another query, compared by value, begins with one page. On a server it is loading.
 */
export function useLumenizePages<
  T extends object = never,
  N extends NameOf<T> = NameOf<T>,
  F extends Field<RowOf<T, N>> = Field<RowOf<T, N>>,
  I extends IncludeOf<RowOf<T, N>> = Nothing,
>(
  collection: N,
  query: NoInfer<PagesQuery<RowOf<T, N>>> & Including<RowOf<T, N>, I> = {},
  options: PagesOptions<RowOf<T, N>, F> = {},
): PagesStateOf<T, N, F, I> {
  const { enabled = true, ...paging } = options
  const client = useLumenizeClient()
  const key = keyOf([collection, query, paging])
  const store = useMemo(() => (enabled ? pagesStore<T, N, F, I>(client, collection, query as never, paging) : NO_PAGES), [client, key, enabled])
  return useSyncExternalStore<PagesStateOf<T, N, F, I>>(store.subscribe, store.getSnapshot, enabled ? firstPage : NO_PAGES.getSnapshot)
}

const uncounted = (): AggregateState<never> => UNCOUNTED
const firstPage = (): PagesState<never> => NO_PAGE
