/** Callbacks of applications: called one after the other, none of them harmed by what another throws. */
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

/** For calls that applications make and forget: a rejection is there for who awaits it, and is no uncaught error. */
export function quiet<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {})
  return promise
}

/** Run a callback; what it throws is reported as uncaught, and stops nothing here. */
export function guarded(call: () => unknown): void {
  try {
    const result = call()
    if (result instanceof Promise) result.catch(report)
  } catch (error) {
    report(error)
  }
}

function report(error: unknown): void {
  if (typeof reportError === "function") reportError(error)
  else console.error(error)
}
