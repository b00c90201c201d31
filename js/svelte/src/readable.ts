/** From the client's stores to Svelte's. */
import type { Readable } from "svelte/store"
import type { Store } from "@lumenize/client/stores"

/** A value, or a store of it. */
export type MaybeStore<T> = T | Readable<T>

/** While a page is rendered on a server nothing is subscribed to: the request would not wait for it. */
const onServer = typeof window === "undefined"

export function isStore<T>(value: MaybeStore<T>): value is Readable<T> {
  return typeof value === "object" && value !== null && "subscribe" in value && typeof value.subscribe === "function"
}

/** Call `use` with a value, and again whenever it changes; what it returns is called before the next, and at the end. */
export function follow<T>(value: MaybeStore<T>, use: (value: T) => () => void): () => void {
  if (!isStore(value)) return use(value)
  let end = (): void => {}
  const stop = value.subscribe((next) => {
    const before = end
    end = () => {}
    // the next first: what both share stays
    end = use(next)
    before()
  })
  return () => {
    stop()
    end()
  }
}

/** A Svelte store of the client's store that `open` finds; of `first` until somebody subscribes, and on servers. */
export function readable<T, A>(first: T, argument: MaybeStore<A>, open: (argument: A) => Store<T>): Readable<T> {
  return {
    subscribe(run) {
      if (onServer) {
        run(first)
        return () => {}
      }
      let told: { value: T } | undefined
      return follow(argument, (value) => {
        const store = open(value)
        const tell = (): void => {
          const value = store.getSnapshot()
          // to Svelte an object that is set again has changed
          if (told?.value !== value || told === undefined) run((told = { value }).value)
        }
        const end = store.subscribe(tell)
        tell()
        return end
      })
    },
  }
}
