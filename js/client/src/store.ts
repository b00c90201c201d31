/** Live queries as external stores: subscribe and snapshot, shared by all who ask for the same. */
import type { Client } from "./client.js"
import type { QueryWithCondition } from "./collection.js"
import type { LumenizeError } from "./errors.js"
import type { Data, Entity, SubscribeOptions, Unsubscribe } from "./types.js"

export interface QueryState<T> {
  /** The rows; empty before the first answer. */
  data: readonly Entity<T>[]
  loading: boolean
  error: LumenizeError | null
}

export interface QueryStore<T> {
  /** The same object until something changes. */
  getSnapshot(): QueryState<T>
  /** Be called after each change. The server's subscription lives while somebody is subscribed. */
  subscribe(changed: () => void): Unsubscribe
}

const LOADING: QueryState<never> = { data: [], loading: true, error: null }
const stores = new WeakMap<Client, Map<string, QueryStore<never>>>()

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
  if (condition !== undefined) return createStore(client, collection, { ...plain, condition }, options, () => {})
  let known = stores.get(client)
  if (known === undefined) stores.set(client, (known = new Map()))
  const key = JSON.stringify([collection, sorted(plain), options.fields ?? null, options.includePermissions ?? false])
  let store = known.get(key)
  if (store === undefined) {
    const all = known
    const made: QueryStore<never> = createStore<never>(client, collection, plain, options, (used) => {
      // who comes back to a store that was given up shares it again, unless there is another by now
      if (used) all.set(key, all.get(key) ?? made)
      else if (all.get(key) === made) all.delete(key)
    })
    known.set(key, (store = made))
  }
  return store as unknown as QueryStore<T>
}

function createStore<T extends Data>(
  client: Client,
  collection: string,
  query: QueryWithCondition,
  options: SubscribeOptions,
  used: (used: boolean) => void,
): QueryStore<T> {
  let state: QueryState<T> = LOADING
  let unsubscribe: Unsubscribe | null = null
  const listeners = new Set<() => void>()
  const set = (next: QueryState<T>): void => {
    state = next
    for (const listener of [...listeners]) listener()
  }
  return {
    getSnapshot: () => state,
    subscribe(changed) {
      const listener = (): void => changed()
      listeners.add(listener)
      used(true)
      unsubscribe ??= client
        .collection<T>(collection)
        .subscribe(query, (data) => set({ data, loading: false, error: null }), {
          ...options,
          onError: (error) => set({ ...state, loading: false, error }),
        })
      return () => {
        if (!listeners.delete(listener) || listeners.size > 0) return
        // not at once: who unmounts and mounts again (a moved component) keeps the subscription
        queueMicrotask(() => {
          if (listeners.size > 0) return
          unsubscribe?.()
          unsubscribe = null
          state = LOADING
          used(false)
        })
      }
    },
  }
}

/** Objects with their members in order, so that equal queries have equal texts. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (value instanceof Date) return value.toISOString()
  if (typeof value !== "object" || value === null) return value
  // the order of `orderBy` means something
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, each]) => [name, name === "orderBy" ? each : sorted(each)]),
  )
}
