/** From the client's stores to refs. */
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
  type ShallowRef,
} from "vue"

/** While a page is rendered on a server nothing is subscribed to: the request would not wait for it. */
const onServer = typeof window === "undefined"

/**
 * Begin, and end when the component or the effect scope is gone. In a `<KeepAlive>` it ends while the component is
 * hidden, and begins anew when it is shown again.
 */
export function whileShown(begin: () => () => void): void {
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
  // what a server has rendered is taken over as it is, also where more is known by now
  if (component?.vnode.el) onMounted(start)
  else start()
  if (getCurrentScope()) onScopeDispose(stop)
}

/** Begin with what `source` gives now, and anew whenever that changes. */
export function whileShownWith<A>(source: () => A, begin: (value: A) => () => void): void {
  whileShown(() => {
    let end = (): void => {}
    const stop = watch(
      source,
      (value) => {
        const before = end
        end = begin(value)
        before() // the next first: what both share stays
      },
      { immediate: true },
    )
    return () => {
      stop()
      end()
    }
  })
}

/** The state of the store that `open` finds for `source`, and of the next one whenever `source` changes. */
export function follow<T, A>(first: T, source: () => A, open: (value: A) => Store<T>): Readonly<ShallowRef<T>> {
  const state = shallowRef(first)
  let last: { source: A } | null = null
  whileShownWith(source, (value) => {
    const store = open(value)
    const tell = (): void => void (state.value = store.getSnapshot())
    const end = store.subscribe(tell)
    // who was hidden shows what there was, until there is something new
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
