/** Callbacks of applications. An exception in one does not affect the others. */

/** Calls callbacks in order: at once or, inside another callback, after all that wait already. */
export type Turn = (...calls: (() => unknown)[]) => void

/**
 * A {@link Turn} for all callbacks of a client. What a callback causes is told after everybody has been told what came
 * before, so all hear the same in the same order.
 */
export function inTurn(): Turn {
  const waiting: (() => unknown)[] = []
  let isRunning = false
  return (...calls) => {
    waiting.push(...calls)
    if (isRunning) return
    isRunning = true
    let done = 0
    try {
      while (done < waiting.length) guarded(waiting[done++] as () => unknown) // callbacks append to it
    } finally {
      isRunning = false
      waiting.splice(0, done) // the rest waits for the next turn, if an exception cannot be reported
    }
  }
}

export class Listeners<A extends unknown[]> {
  private readonly callbacks = new Set<{ call: (...args: A) => unknown }>()

  constructor(private readonly turn: Turn) {}

  get size(): number {
    return this.callbacks.size
  }

  add(call: (...args: A) => unknown): () => void {
    const entry = { call }
    this.callbacks.add(entry)
    return () => void this.callbacks.delete(entry)
  }

  /** Tells those who listen now, unless they end that before their turn. */
  tell(...args: A): void {
    this.turn(...[...this.callbacks].map((each) => () => this.callbacks.has(each) && each.call(...args)))
  }
}

/** Marks a promise as handled, for calls that applications may not await: its rejection is not an uncaught error. */
export function quiet<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {})
  return promise
}

/** Runs a callback and reports its exception as uncaught, without throwing it. */
export function guarded(call: () => unknown): void {
  try {
    watched(call())
  } catch (error) {
    report(error)
  }
}

/** Returns a callback's result. If it is a promise that rejects, reports that as if the callback had thrown. */
export function watched<T>(result: T): T {
  const { then } = (result ?? {}) as { then?: unknown }
  if (typeof then === "function") Promise.resolve(result).catch(report)
  return result
}

function report(error: unknown): void {
  if (typeof reportError === "function") reportError(error)
  else console.error(error)
}
