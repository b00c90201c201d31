/** Live aggregates, and lists that grow page by page. */
import type { Aggregate, Data, Field, GroupOf, IncludedBy, NameOf, RowOf } from "@lumenize/client"
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
  type PagesStateOf,
  type Store,
} from "@lumenize/client/stores"
import { toValue, type MaybeRefOrGetter } from "vue"
import { useLumenizeClient } from "./client.js"
import { follow, members, type MaybeQuery, type Refs } from "./refs.js"

export interface AggregateOptions {
  /** While false there is no subscription. */
  enabled?: MaybeRefOrGetter<boolean>
}

export interface PagesOptions<T = Data, F extends Field<T> = Field<T>> extends Paging<T, F> {
  /** While false there is no subscription. */
  enabled?: MaybeRefOrGetter<boolean>
}

/** The groups of an aggregate: counts and sums, at once and after each change. On a server it is loading. */
export function useLumenizeAggregate<T extends object = never, N extends NameOf<T> = NameOf<T>, Q extends Aggregate<RowOf<T, N>> = Aggregate<RowOf<T, N>>>(
  collection: MaybeRefOrGetter<N>,
  query: MaybeQuery<Q, RowOf<T, N>, Aggregate<RowOf<T, N>>> = {} as MaybeQuery<Q, RowOf<T, N>, Aggregate<RowOf<T, N>>>,
  options: AggregateOptions = {},
): Refs<AggregateState<GroupOf<RowOf<T, N>, Q>>> {
  const { enabled = true } = options
  const client = useLumenizeClient()
  const wanted = query as MaybeRefOrGetter<Q>
  const state = follow<AggregateState<GroupOf<RowOf<T, N>, Q>>, string>(
    UNCOUNTED,
    () => keyOf([toValue(collection), toValue(wanted), toValue(enabled)]),
    () => (toValue(enabled) ? aggregateStore<T, N, Q>(client, toValue(collection), toValue(wanted) as never) : NO_GROUPS),
  )
  return members(state, "data", "loading", "error")
}

/** The first rows of a query, and more with each `loadMore()`. All of them stay live. Another query begins with one page. */
export function useLumenizePages<
  T extends object = never,
  N extends NameOf<T> = NameOf<T>,
  F extends Field<RowOf<T, N>> = Field<RowOf<T, N>>,
  Q extends PagesQuery<RowOf<T, N>> = PagesQuery<RowOf<T, N>>,
>(
  collection: MaybeRefOrGetter<N>,
  query: MaybeQuery<Q, RowOf<T, N>, PagesQuery<RowOf<T, N>>> = {} as MaybeQuery<Q, RowOf<T, N>, PagesQuery<RowOf<T, N>>>,
  options: PagesOptions<RowOf<T, N>, F> = {},
): Omit<Refs<PagesStateOf<T, N, F, IncludedBy<Q>>>, "loadMore"> & { loadMore: () => void } {
  const { enabled = true, ...paging } = options
  const client = useLumenizeClient()
  const state = follow<PagesStateOf<T, N, F, IncludedBy<Q>>, string>(
    NO_PAGE,
    () => keyOf([toValue(collection), toValue(query), toValue(enabled)]),
    () => (toValue(enabled) ? (pagesStore<T, N, F>(client, toValue(collection), toValue(query) as never, paging) as Store<never>) : NO_PAGES),
  )
  return { ...members(state, "data", "loading", "error", "hasMore", "loadingMore"), loadMore: () => state.value.loadMore() }
}
