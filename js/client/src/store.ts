/** What changes, as external stores: subscribe and snapshot, shared by all who ask for the same. */
import type { Client } from "./client.js"
import type { QueryWithCondition } from "./collection.js"
import { LumenizeError } from "./errors.js"
import type { Data, Entity, SubscribeOptions, Unsubscribe } from "./types.js"

/** A value that changes: read with `getSnapshot`, be told of changes with `subscribe`. */
export interface Store<T> {
  /** The same object until something changes. */
  getSnapshot(): T
  /** Be called after each change. What is behind the store lives while somebody is subscribed. */
  subscribe(changed: () => void): Unsubscribe
}

export interface QueryState<T> {
  /** The rows; empty before the first answer. A row that does not change stays the same object. */
  data: readonly Entity<T>[]
  loading: boolean
  /** Why there are no rows, or no new ones. */
  error: LumenizeError | null
}

export type QueryStore<T> = Store<QueryState<T>>

export const LOADING: QueryState<never> = { data: [], loading: true, error: null }

/** Something that is made once for each client, and goes with it. */
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
 * A store that all share who give the same `key`: begun by the first who subscribes, ended after the last.
 *
 * Asking for it costs nothing and leaves nothing behind: components that are drawn and never mounted do just that.
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
          it.state = next
          for (const each of [...it.listeners]) each()
        })
      }
      return () => {
        if (!it.listeners.delete(listener)) return
        // not at once: who unmounts and mounts again (a moved component) keeps what there is
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
 * Begin a subscription; if the server refuses or ends it for good, begin it anew with the next session, which may be
 * that of another user. Without `onError` the client's is told.
 */
export function lasting(
  client: Client,
  onError: ((error: LumenizeError) => void) | undefined,
  begin: (onError: (error: LumenizeError) => void) => Unsubscribe,
): Unsubscribe {
  let over = false
  const failed = (error: LumenizeError): void => {
    over ||= !error.retryable
    if (onError) return onError(error)
    const { code, message, details } = error
    const plain = code === "SUBSCRIPTION_FAILED" || code === "RATE_LIMIT_EXCEEDED"
    client.core.failed.tell(plain ? error : new LumenizeError("SUBSCRIPTION_FAILED", message, { ...details, cause: code }))
  }
  const attempt = (): Unsubscribe => {
    try {
      return begin(failed)
    } catch (error) {
      failed(asError(error)) // of what makes no sense the client itself says so
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
    for (const stop of stops) stop()
    end()
  }
}

/**
 * The store of a live query. Those who ask for the same query share it, and one subscription.
 *
 * Queries with a `condition` are shared with nobody: functions do not tell what they mean.
 */
export function queryStore<T extends Data = Data>(
  client: Client,
  collection: string,
  query: QueryWithCondition = {},
  options: Pick<SubscribeOptions, "fields" | "includePermissions" | "condition"> = {},
): QueryStore<T> {
  const { condition = options.condition, ...plain } = query
  const { fields, includePermissions = false } = options
  const alone = condition !== undefined
  const key = alone ? {} : `rows ${JSON.stringify([collection, sorted(plain), fields && [...fields].sort(), includePermissions])}`
  return shared<QueryState<T>>(client, key, LOADING, (set) => {
    let state: QueryState<T> = LOADING
    const change = (next: QueryState<T>): void => set((state = next))
    const failed = (error: LumenizeError): void => change({ ...state, loading: false, error })
    return lasting(client, failed, (onError) =>
      client.collection<T>(collection).subscribe(
        (alone ? { ...plain, condition } : plain) as QueryWithCondition<T>,
        (rows) => {
          const data = kept(state.data, rows)
          if (data !== state.data || state.loading || state.error) change({ data, loading: false, error: null })
        },
        {
          ...(fields && { fields }),
          includePermissions,
          onError,
          // rows that are what they were before it failed are not told again
          onResume: () => state.error && change({ ...state, error: null }),
        },
      ),
    )
  })
}

/** `next`, with the objects of `before` where they say the same: who draws them sees that nothing has changed. */
function kept<T extends Data>(before: readonly Entity<T>[], next: readonly Entity<T>[]): readonly Entity<T>[] {
  const known = new Map(before.map((row) => [row.id, row]))
  const rows = next.map((row) => {
    const old = known.get(row.id)
    return old !== undefined && equal(old, row) ? old : row
  })
  return rows.length === before.length && rows.length > 0 && rows.every((row, index) => row === before[index]) ? before : rows
}

/** Whether two JSON values are the same, in whatever order their members are. */
function equal(a: unknown, b: unknown): boolean {
  if (a === b) return true
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false
  const names = Object.keys(a)
  if (Array.isArray(a) !== Array.isArray(b) || names.length !== Object.keys(b).length) return false
  return names.every((name) => Object.hasOwn(b, name) && equal((a as Data)[name], (b as Data)[name]))
}

/** Objects with their members in order, so that equal queries have equal texts. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  // what JSON would turn into null is another question, which the client refuses
  if (value instanceof Date || typeof value === "number") return JSON.stringify(value) === "null" ? String(value) : value
  if (typeof value !== "object" || value === null) return value
  // the order of `orderBy` means something
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, each]) => [name, name === "orderBy" ? each : sorted(each)]),
  )
}
