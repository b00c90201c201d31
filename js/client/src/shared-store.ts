/** External stores with subscribe and snapshot, shared between subscribers with the same key. */
import { CORE } from "./core.js"
import type { Client } from "./client.js"
import { LumenizeError, subscriptionFailed } from "./errors.js"
import { keyOf } from "./key.js"
import { guarded } from "./listeners.js"
import type { Field, IncludeOf, Including, Nothing, QueryWithCondition, RowWith } from "./queries.js"
import type { Data, Entity, NameOf, RowOf } from "./schema.js"
import type { Shown, SubscribeOptions, Unsubscribe } from "./types.js"
import { frozen } from "./frozen.js"

/** A value that changes: read it with `getSnapshot`, listen to changes with `subscribe`. */
export interface Store<T> {
  /** The same object until something changes. */
  getSnapshot(): T
  /** Calls `changed` after each change. The store's subscription lives while it has subscribers. */
  subscribe(changed: () => void): Unsubscribe
}

export interface QueryState<T, R = Entity<T>> {
  /** The rows; empty before the first answer. An unchanged row stays the same object. */
  data: readonly Shown<R>[]
  loading: boolean
  /** Why there are no rows, or no updates. */
  error: LumenizeError | null
}

/** The state of a query of the collection `N`, or of rows with fields `T`, for the fields `F` that includes `I`. */
export type QueryStateOf<T, N, F, I> = QueryState<RowOf<T, N>, RowWith<RowOf<T, N>, F, I>>

export type QueryStore<T, R = Entity<T>> = Store<QueryState<T, R>>

export const LOADING: QueryState<never> = frozen({ data: [], loading: true, error: null })

/** A store with a constant value. */
export const constant = <T>(state: T): Store<T> => ({ getSnapshot: () => frozen(state), subscribe: () => () => {} })

/** A function that creates a value once for each client. */
export function perClient<T>(make: () => T): (client: Client) => T {
  const made = new WeakMap<Client, T>()
  return (client) => {
    if (!made.has(client)) made.set(client, make())
    return made.get(client) as T
  }
}

interface Live {
  state: unknown
  listeners: Set<() => void>
  stop: Unsubscribe
}

const live = perClient(() => new Map<unknown, Live>())

/**
 * A store that is shared between callers with the same `key`: the first subscriber starts it, the last one ends it.
 *
 * Creating one without subscribing leaves nothing behind: components that render but never mount do this.
 */
export function shared<T>(client: Client, key: unknown, first: T, start: (set: (next: T) => void) => Unsubscribe): Store<T> {
  const all = live(client)
  return {
    getSnapshot: () => (all.get(key)?.state ?? first) as T,
    subscribe(changed) {
      const known = all.get(key)
      const it: Live = known ?? { state: first, listeners: new Set(), stop: () => {} }
      const listener = (): void => changed()
      it.listeners.add(listener)
      if (known === undefined) {
        all.set(key, it)
        it.stop = start((next) => {
          it.state = Object.freeze(next)
          for (const each of [...it.listeners]) if (it.listeners.has(each)) guarded(each)
        })
      }
      return () => {
        if (!it.listeners.delete(listener)) return
        // not at once: a component that unmounts and mounts again (a moved one) keeps the subscription
        queueMicrotask(() => {
          if (it.listeners.size > 0 || all.get(key) !== it) return
          all.delete(key)
          it.stop()
        })
      }
    },
  }
}

export function asError(error: unknown): LumenizeError {
  return error instanceof LumenizeError ? error : new LumenizeError("INTERNAL_ERROR", String(error))
}

/**
 * Begins a subscription. If the server refuses or ends it permanently, begins it again with the next session, which may
 * belong to another user. Without `onError`, the client's `onError` gets the error.
 */
export function lasting(
  client: Client,
  onError: ((error: LumenizeError) => void) | undefined,
  begin: (onError: (error: LumenizeError) => void) => Unsubscribe,
): Unsubscribe {
  let over = false
  let ended = false
  const failed = (error: LumenizeError): void => {
    over ||= !error.retryable && client[CORE].over === null // if the client has stopped connecting, the subscription waits for the next connect
    if (ended) return
    if (onError) return client[CORE].turn(() => !ended && onError(error))
    client[CORE].fail(subscriptionFailed(error))
  }
  const attempt = (): Unsubscribe => {
    try {
      return begin(failed)
    } catch (error) {
      queueMicrotask(() => failed(asError(error))) // an invalid argument throws: told once the application can end it
      return () => {}
    }
  }
  let end = attempt()
  const again = (): void => {
    if (!over) return
    over = false
    end()
    end = attempt()
  }
  const stops = [client.onConnect(again), client.onReconnect(again)]
  return () => {
    ended = true
    for (const stop of stops) stop()
    end()
  }
}

interface LiveState {
  loading: boolean
  error: LumenizeError | null
}

/** A store of what a subscription told last, shared by `key`. It keeps that after an error. */
export function liveStore<T extends LiveState>(
  client: Client,
  key: string,
  first: T,
  begin: (tell: (news: Omit<T, keyof LiveState>) => void, onError: (error: LumenizeError) => void) => Unsubscribe,
): Store<T> {
  return shared(client, key, first, (set) => {
    let state = first
    const change = (next: T): void => set((state = next))
    const failed = (error: LumenizeError): void => change({ ...state, loading: false, error })
    return lasting(client, failed, (onError) => begin((news) => change({ ...first, ...news, loading: false, error: null }), onError))
  })
}

/**
 * The store of a live query. Stores of the same query share one subscription.
 *
 * Queries with a `condition` are not shared: functions cannot be compared.
 */
export function queryStore<
  T extends object = never,
  N extends NameOf<T> = NameOf<T>,
  F extends Field<RowOf<T, N>> = Field<RowOf<T, N>>,
  I extends IncludeOf<RowOf<T, N>> = Nothing,
>(
  client: Client,
  collection: N,
  query: NoInfer<QueryWithCondition<RowOf<T, N>>> & Including<RowOf<T, N>, I> = {},
  options: Pick<SubscribeOptions<RowOf<T, N>, F>, "fields" | "includePermissions" | "condition"> = {},
): QueryStore<RowOf<T, N>, RowWith<RowOf<T, N>, F, I>> {
  const { condition = options.condition, ...plain } = query
  const { fields, includePermissions = false } = options
  const alone = condition !== undefined
  const key = alone ? {} : `rows ${keyOf([collection, plain, fields && [...fields].sort(), includePermissions])}`
  return shared<QueryState<Data>>(client, key, LOADING, (set) => {
    let state: QueryState<Data> = LOADING
    const change = (next: QueryState<Data>): void => set((state = next))
    const failed = (error: LumenizeError): void => change({ ...state, loading: false, error })
    return lasting(client, failed, (onError) =>
      client.collection<Data>(collection).subscribe(
        (alone ? { ...plain, condition } : plain) as QueryWithCondition,
        (rows) => {
          const data = frozen(kept(state.data, rows))
          if (data !== state.data || state.loading || state.error) change({ data, loading: false, error: null })
        },
        {
          ...(fields && { fields }),
          includePermissions,
          onError,
          // the callback is not called if the rows are the same as before the error
          onResume: () => state.error && change({ ...state, error: null }),
        },
      ),
    )
  }) as unknown as QueryStore<RowOf<T, N>, RowWith<RowOf<T, N>, F, I>>
}

/** `next`, with the objects of `before` for equal rows, so that renderers see them as unchanged. */
function kept(before: readonly Shown<Entity>[], next: readonly Shown<Entity>[]): readonly Shown<Entity>[] {
  const known = new Map(before.map((row) => [row.id, row]))
  const rows = next.map((row) => {
    const old = known.get(row.id)
    return old !== undefined && equal(old, row) ? old : row
  })
  return rows.length === before.length && rows.length > 0 && rows.every((row, index) => row === before[index]) ? before : rows
}

/** Whether two JSON values are equal, whatever the order of their members. */
function equal(a: unknown, b: unknown): boolean {
  if (a === b) return true
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false
  const names = Object.keys(a)
  if (Array.isArray(a) !== Array.isArray(b) || names.length !== Object.keys(b).length) return false
  return names.every((name) => Object.hasOwn(b, name) && equal((a as Data)[name], (b as Data)[name]))
}
