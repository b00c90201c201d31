/** Live aggregates, and lists that grow page by page. */
import type { Aggregate, Data, NameOf, RowOf } from "@lumenize/client"
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
import { toValue, type MaybeRefOrGetter } from "vue"
import { useLumenizeClient } from "./client.js"
import { follow, members, type Refs } from "./refs.js"

export interface AggregateOptions {
  /** While false there is no subscription. */
  enabled?: MaybeRefOrGetter<boolean>
}

export interface PagesOptions<T = Data> extends Paging<T> {
  /** While false there is no subscription. */
  enabled?: MaybeRefOrGetter<boolean>
}

/** The groups of an aggregate: counts and sums, at once and after each change. On a server it is loading. */
export function useLumenizeAggregate<T extends object = Data, N extends string = string>(
  collection: MaybeRefOrGetter<NameOf<T, N>>,
  query: MaybeRefOrGetter<Aggregate<NoInfer<RowOf<T, N>>>> = {},
  options: AggregateOptions = {},
): Refs<AggregateState> {
  const { enabled = true } = options
  const client = useLumenizeClient()
  const state = follow<AggregateState, string>(
    UNCOUNTED,
    () => keyOf([toValue(collection), toValue(query), toValue(enabled)]),
    () => (toValue(enabled) ? aggregateStore<T, N>(client, toValue(collection), toValue(query)) : NO_GROUPS),
  )
  return members(state, "data", "loading", "error")
}

/** The first rows of a query, and more with each `loadMore()`. All of them stay live. Another query begins with one page. */
export function useLumenizePages<T extends object = Data, N extends string = string>(
  collection: MaybeRefOrGetter<NameOf<T, N>>,
  query: MaybeRefOrGetter<PagesQuery<RowOf<T, N>>> = {},
  options: PagesOptions<RowOf<T, N>> = {},
): Omit<Refs<PagesState<RowOf<T, N>>>, "loadMore"> & { loadMore: () => void } {
  const { enabled = true, ...paging } = options
  const client = useLumenizeClient()
  const state = follow<PagesState<RowOf<T, N>>, string>(
    NO_PAGE,
    () => keyOf([toValue(collection), toValue(query), toValue(enabled)]),
    () => (toValue(enabled) ? pagesStore<T, N>(client, toValue(collection), toValue(query), paging) : NO_PAGES),
  )
  return { ...members(state, "data", "loading", "error", "hasMore", "loadingMore"), loadMore: () => state.value.loadMore() }
}
