/** From the client's stores to refs. */
import type { Store } from "@lumenize/client/stores"
import { computed, getCurrentScope, onScopeDispose, shallowRef, watch, type ComputedRef, type ShallowRef } from "vue"

/** While a page is rendered on a server nothing is subscribed to: the request would not wait for it. */
const onServer = typeof window === "undefined"

/** Call `end` when the component, or the effect scope, is gone. */
export function whenGone(end: () => void): void {
  if (getCurrentScope()) onScopeDispose(end)
}

/** The state of the store that `open` finds for `source`, and of the next one whenever `source` changes. */
export function follow<T, A>(first: T, source: () => A, open: (value: A) => Store<T>): Readonly<ShallowRef<T>> {
  const state = shallowRef(first)
  if (onServer) return state
  let end = (): void => {}
  const stop = watch(
    source,
    (value) => {
      const before = end
      const store = open(value)
      end = store.subscribe(() => (state.value = store.getSnapshot()))
      before() // the next first: what both share stays
      state.value = store.getSnapshot()
    },
    { immediate: true },
  )
  whenGone(() => {
    stop()
    end()
  })
  return state
}

/** One ref for each of these members of a state. */
export function members<T extends object, K extends keyof T>(
  state: Readonly<ShallowRef<T>>,
  ...names: readonly K[]
): { [Name in K]: ComputedRef<T[Name]> } {
  return Object.fromEntries(names.map((name) => [name, computed(() => state.value[name])])) as {
    [Name in K]: ComputedRef<T[Name]>
  }
}
