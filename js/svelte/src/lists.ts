/** Live aggregates, and lists that grow page by page. */
import type { Aggregate, Field, GroupOf, IncludedBy, NameOf, RowOf } from "@lumenize/client"
import {
  aggregateStore,
  NO_GROUPS,
  NO_PAGE,
  NO_PAGES,
  pagesStore,
  UNCOUNTED,
  type AggregateState,
  type PagesOptions,
  type PagesQuery,
  type PagesStateOf,
  type Store,
} from "@lumenize/client/stores"
import type { Readable } from "svelte/store"
import { laterClient } from "./client.js"
import { readable, type MaybeQuery, type MaybeStore } from "./readable.js"

/** The groups of an aggregate, as a store of `{data, loading, error}`. While `query` is `null` there is no subscription. */
export function lumenizeAggregate<T extends object = never, N extends NameOf<T> = NameOf<T>, Q extends Aggregate<RowOf<T, N>> = Aggregate<RowOf<T, N>>>(
  collection: N,
  query: MaybeQuery<Q, RowOf<T, N>, Aggregate<RowOf<T, N>>> = {} as MaybeQuery<Q, RowOf<T, N>, Aggregate<RowOf<T, N>>>,
): Readable<AggregateState<GroupOf<RowOf<T, N>, Q>>> {
  const client = laterClient()
  return readable<AggregateState<GroupOf<RowOf<T, N>, Q>>, Q | null>(UNCOUNTED, query as MaybeStore<Q | null>, (wanted) =>
    wanted === null ? NO_GROUPS : aggregateStore<T, N, Q>(client(), collection, wanted as never),
  )
}

/**
 * The first rows of a query, and more with each `loadMore()`, as a store of
 * `{data, loading, error, hasMore, loadingMore, loadMore}`. Another query begins with one page; while `query` is `null`
 * there is no subscription.
 */
export function lumenizePages<
  T extends object = never,
  N extends NameOf<T> = NameOf<T>,
  F extends Field<RowOf<T, N>> = Field<RowOf<T, N>>,
  Q extends PagesQuery<RowOf<T, N>> = PagesQuery<RowOf<T, N>>,
>(
  collection: N,
  query: MaybeQuery<Q, RowOf<T, N>, PagesQuery<RowOf<T, N>>> = {} as MaybeQuery<Q, RowOf<T, N>, PagesQuery<RowOf<T, N>>>,
  options: PagesOptions<RowOf<T, N>, F> = {},
): Readable<PagesStateOf<T, N, F, IncludedBy<Q>>> {
  const client = laterClient()
  return readable<PagesStateOf<T, N, F, IncludedBy<Q>>, PagesQuery<RowOf<T, N>> | null>(NO_PAGE, query, (wanted) =>
    wanted === null ? NO_PAGES : (pagesStore<T, N, F>(client(), collection, wanted as never, options) as Store<never>),
  )
}
