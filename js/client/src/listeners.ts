/** Callbacks of applications, called in order. An exception in one does not affect the others. */
export class Listeners<A extends unknown[]> {
  private readonly callbacks = new Set<{ call: (...args: A) => void }>()

  get size(): number {
    return this.callbacks.size
  }

  add(call: (...args: A) => void): () => void {
    const entry = { call }
    this.callbacks.add(entry)
    return () => void this.callbacks.delete(entry)
  }

  tell(...args: A): void {
    for (const { call } of [...this.callbacks]) guarded(() => call(...args))
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
