/** Live aggregates, and lists that grow page by page. */
import type { Aggregate, Data, NameOf, RowOf } from "@lumenize/client"
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
  type PagesState,
} from "@lumenize/client/stores"
import type { Readable } from "svelte/store"
import { laterClient } from "./client.js"
import { readable, type MaybeStore } from "./readable.js"

/** The groups of an aggregate, as a store of `{data, loading, error}`. While `query` is `null` there is no subscription. */
export function lumenizeAggregate<T extends object = Data, N extends string = string>(
  collection: NameOf<T, N>,
  query: MaybeStore<Aggregate<NoInfer<RowOf<T, N>>> | null> = {},
): Readable<AggregateState> {
  const client = laterClient()
  return readable<AggregateState, Aggregate<NoInfer<RowOf<T, N>>> | null>(UNCOUNTED, query, (wanted) =>
    wanted === null ? NO_GROUPS : aggregateStore<T, N>(client(), collection, wanted),
  )
}

/**
 * The first rows of a query, and more with each `loadMore()`, as a store of
 * `{data, loading, error, hasMore, loadingMore, loadMore}`. Another query begins with one page; while `query` is `null`
 * there is no subscription.
 */
export function lumenizePages<T extends object = Data, N extends string = string>(
  collection: NameOf<T, N>,
  query: MaybeStore<PagesQuery<RowOf<T, N>> | null> = {},
  options: PagesOptions<RowOf<T, N>> = {},
): Readable<PagesState<RowOf<T, N>>> {
  const client = laterClient()
  return readable<PagesState<RowOf<T, N>>, PagesQuery<RowOf<T, N>> | null>(NO_PAGE, query, (wanted) =>
    wanted === null ? NO_PAGES : pagesStore<T, N>(client(), collection, wanted, options),
  )
}
