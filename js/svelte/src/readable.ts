/** Turns the client's stores into Svelte stores. */
import type { QueryWithCondition, Right } from "@lumenize/client"
import type { Readable } from "svelte/store"
import type { Store } from "@lumenize/client/stores"

/** A value, or a store of it. */
export type MaybeStore<T> = T | Readable<T>

/** A query of rows with fields `T`, or a store of one, with right names only; `null`: none. */
export type MaybeQuery<Q, T, Known = QueryWithCondition<T>> = MaybeStore<Q | null> & Right<Q, T, Known>

/** A page rendered on a server subscribes to nothing: the request would not wait for it. */
const onServer = typeof window === "undefined"

export function isStore<T>(value: MaybeStore<T>): value is Readable<T> {
  return typeof value === "object" && value !== null && "subscribe" in value && typeof value.subscribe === "function"
}

/**
 * Calls `use` with a value, and again after each change. The function that `use` returns ends its work. Throws what `use`
 * throws at first, and leaves nothing behind; reports what it throws later.
 */
export function follow<T>(value: MaybeStore<T>, use: (value: T) => () => void): () => void {
  if (!isStore(value)) return use(value)
  let end = (): void => {}
  let begun = false
  let failure: { error: unknown } | undefined
  const stop = value.subscribe((next) => {
    const before = end
    end = () => {}
    try {
      // begin the next before ending the last, so that both can share a subscription
      end = use(next)
    } catch (error) {
      // thrown inside a store, it would keep that store from its other subscribers
      if (begun) reportError(error)
      else failure = { error }
    }
    before()
  })
  begun = true
  const finish = (): void => {
    stop()
    end()
  }
  if (failure === undefined) return finish
  finish()
  throw failure.error
}

/** A Svelte store of the client's store that `open` returns. On servers it holds `first`. */
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
          // Svelte treats an object that is set again as changed
          if (told?.value !== value || told === undefined) run((told = { value }).value)
        }
        const end = store.subscribe(tell)
        try {
          tell()
        } catch (error) {
          end()
          throw error
        }
        return end
      })
    },
  }
}
