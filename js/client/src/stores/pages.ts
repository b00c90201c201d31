/** A list that grows page by page and stays live, as an external store. */
import type { Client } from "../client.js"
import { invalid } from "../errors.js"
import { frozen } from "../frozen.js"
import { guarded } from "../listeners.js"
import { constant, LOADING, queryStore, type QueryState, type Store } from "../shared-store.js"
import type { Field, IncludeOf, Including, Nothing, Query, RowWith } from "../queries.js"
import type { Data, Entity, NameOf, RowOf } from "../schema.js"
import type { ReadOptions, Unsubscribe } from "../types.js"

/** The rows of a live query at most. */
const MOST = 10_000
/** The same of one that includes related rows. */
const MOST_INCLUDING = 1_000

export type PagesQuery<T = Data> = Omit<Query<T>, "limit" | "offset">

export interface PagesOptions<T = Data, F extends Field<T> = Field<T>> extends ReadOptions<T, F> {
  /** How many rows to load at first, and with each `loadMore`. */
  pageSize?: number
}

export interface PagesState<T, R = Entity<T>> extends QueryState<T, R> {
  /** Whether there are more rows than those in `data`. */
  hasMore: boolean
  loadingMore: boolean
  /** Loads the next page, if there is one and none is being loaded. */
  loadMore: () => void
}

/** The state of such a list, as `QueryStateOf` is that of a query. */
export type PagesStateOf<T, N, F, I> = PagesState<RowOf<T, N>, RowWith<RowOf<T, N>, F, I>>

export const NO_PAGE: PagesState<never> = frozen({ ...LOADING, hasMore: false, loadingMore: false, loadMore: () => {} })

/** A store without pages. */
export const NO_PAGES: Store<PagesState<never>> = constant({ ...NO_PAGE, loading: false })

/**
 * The first rows of a query. All pages are one live query, whose limit grows: a row that moves is never in two pages,
 * or in none. The rows of earlier pages stay until the longer list has arrived.
 */
export function pagesStore<
  T extends object = never,
  N extends NameOf<T> = NameOf<T>,
  F extends Field<RowOf<T, N>> = Field<RowOf<T, N>>,
  I extends IncludeOf<RowOf<T, N>> = Nothing,
>(
  client: Client,
  collection: N,
  query: NoInfer<PagesQuery<RowOf<T, N>>> & Including<RowOf<T, N>, I> = {},
  options: PagesOptions<RowOf<T, N>, F> = {},
): Store<PagesStateOf<T, N, F, I>> {
  const { pageSize = 50, ...read } = options
  if (!Number.isInteger(pageSize) || pageSize < 1) throw invalid(`pageSize must be an integer of at least 1, not ${String(pageSize)}`)
  const most = query.include ? MOST_INCLUDING : MOST
  type Row = RowWith<RowOf<T, N>, F, I>
  type Rows = QueryState<RowOf<T, N>, Row>
  const listeners = new Set<() => void>()
  // one row more than is shown tells whether there are more
  const rowsOf = (size: number): Store<Rows> =>
    queryStore<T, N, F, I>(client, collection, { ...query, limit: size + 1 } as never, read)
  let size = Math.min(pageSize, most - 1)
  let rows = rowsOf(size)
  let more: Store<Rows> | null = null
  /** Ends of the subscriptions to `rows` and `more`. */
  let ends: Unsubscribe[] = []
  let refused: Rows["error"] = null
  let last: { of: readonly unknown[]; state: PagesState<RowOf<T, N>, Row> } | null = null

  const getSnapshot = (): PagesState<RowOf<T, N>, Row> => {
    const now = rows.getSnapshot()
    const of = [now, more, size, refused]
    if (last !== null && of.every((each, index) => each === last?.of[index])) return last.state
    const state = frozen({
      ...now,
      data: now.data.slice(0, size),
      error: now.error ?? refused,
      hasMore: now.data.length > size && size < most - 1,
      loadingMore: more !== null,
      loadMore,
    })
    last = { of, state }
    return state
  }
  const tell = (): void => {
    for (const each of [...listeners]) if (listeners.has(each)) guarded(each)
  }
  const follow = (store: Store<Rows>, changed: () => void): void => {
    ends.push(store.subscribe(changed))
  }
  const arrived = (next: Store<Rows>, nextSize: number): void => {
    const { loading, error } = next.getSnapshot()
    if (more !== next || loading) return
    more = null
    refused = error
    // the old list goes on until the new one is there, and for good if that was refused
    const [end] = ends.splice(error === null ? 0 : 1, 1)
    if (error === null) {
      rows = next
      size = nextSize
    }
    end?.()
    tell()
  }
  function loadMore(): void {
    if (more !== null || !getSnapshot().hasMore || listeners.size === 0) return
    const nextSize = Math.min(size + pageSize, most - 1)
    const next = (more = rowsOf(nextSize))
    refused = null
    follow(next, () => (more === next ? arrived(next, nextSize) : tell()))
    tell()
    arrived(next, nextSize)
  }
  return {
    getSnapshot,
    subscribe(changed) {
      const listener = (): void => changed()
      listeners.add(listener)
      if (listeners.size === 1) follow(rows, tell)
      return () => {
        if (!listeners.delete(listener) || listeners.size > 0) return
        for (const end of ends.splice(0)) end()
        more = null
      }
    },
  }
}
