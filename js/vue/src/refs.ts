/** Turns the client's stores into refs. */
import type { QueryWithCondition, Right } from "@lumenize/client"
import type { Store } from "@lumenize/client/stores"
import {
  computed,
  getCurrentInstance,
  getCurrentScope,
  onActivated,
  onDeactivated,
  onMounted,
  onScopeDispose,
  shallowRef,
  watch,
  type ComputedRef,
  type MaybeRefOrGetter,
  type ShallowRef,
} from "vue"

/** A query of rows with fields `T`, a ref or a getter of one, with right names only. */
export type MaybeQuery<Q, T, Known = QueryWithCondition<T>> = MaybeRefOrGetter<Q> & Right<Q, T, Known>

/** A page rendered on a server subscribes to nothing: the request would not wait for it. */
const onServer = typeof window === "undefined"

/**
 * Calls `begin`, and its result when the component or the effect scope ends. In a `<KeepAlive>` it ends when the
 * component is hidden, and begins again when it is shown. Throws outside both, because nothing would end it.
 */
export function whileShown(begin: () => () => void): void {
  if (getCurrentScope() === undefined) {
    throw new Error("there is no component or effect scope that would end this subscription: call it in setup, before any await, or in effectScope().run(…)")
  }
  if (onServer) return
  let end: (() => void) | null = null
  const start = (): void => void (end ??= begin())
  const stop = (): void => {
    end?.()
    end = null
  }
  const component = getCurrentInstance()
  if (component !== null) {
    onActivated(start)
    onDeactivated(stop)
  }
  // hydration must match the server's rendering, even if more is known by now
  if (component?.vnode.el) onMounted(start)
  else start()
  onScopeDispose(stop)
}

/** Begins with the current value of `source`, and again after each change of it. */
export function whileShownWith<A>(source: () => A, begin: (value: A) => () => void): void {
  whileShown(() => {
    let end = (): void => {}
    const stop = watch(
      source,
      (value) => {
        const before = end
        end = () => {}
        try {
          end = begin(value)
        } finally {
          before() // after the next has begun, so that both can share a subscription
        }
      },
      { immediate: true },
    )
    return () => {
      stop()
      end()
    }
  })
}

/** The state of the store that `open` returns for `source`; a change of `source` opens another store. */
export function follow<T, A>(first: T, source: () => A, open: (value: A) => Store<T>): Readonly<ShallowRef<T>> {
  const state = shallowRef(first)
  let last: { source: A } | null = null
  whileShownWith(source, (value) => {
    const store = open(value)
    const tell = (): void => void (state.value = store.getSnapshot())
    const end = store.subscribe(tell)
    // a component that was hidden shows its old state until there is a new one
    if (last?.source !== value || store.getSnapshot() !== first) tell()
    last = { source: value }
    return end
  })
  return state
}

/** A ref for each member of a state. */
export type Refs<T> = { readonly [Name in keyof T]: ComputedRef<T[Name]> }

export function members<T extends object>(state: Readonly<ShallowRef<T>>, ...names: readonly (keyof T)[]): Refs<T> {
  return Object.fromEntries(names.map((name) => [name, computed(() => state.value[name])])) as Refs<T>
}
