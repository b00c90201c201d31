/** Time, quickened: what waits minutes in the page's snippets waits seconds here. */

export interface Quickened {
  /** Milliseconds that the quickened timeouts were set to meanwhile, as they were meant. */
  delays: number[]
  end(): void
}

/** The timer of Node's own `fetch` (undici), with which the client asks why there is no connection. */
const FETCH_TICK = 499

/** Let timers and the clock run `times` as fast, but for timeouts of `kept` milliseconds. */
export function quicken(times: number, kept: number): Quickened {
  const { setTimeout, setInterval } = globalThis
  const now = Date.now.bind(Date)
  const start = now()
  const delays: number[] = []
  type Timer = (call: () => void, delay?: number, ...more: unknown[]) => unknown
  const [timeout, interval] = [setTimeout as unknown as Timer, setInterval as unknown as Timer]
  Object.assign(globalThis, {
    setTimeout: (call: () => void, delay = 0, ...more: unknown[]) => {
      if (delay === kept || delay === FETCH_TICK) return timeout.call(globalThis, call, delay, ...more)
      delays.push(delay)
      return timeout.call(globalThis, call, delay / times, ...more)
    },
    setInterval: (call: () => void, delay = 0, ...more: unknown[]) => interval.call(globalThis, call, delay / times, ...more),
  })
  Date.now = () => start + (now() - start) * times
  return {
    delays,
    end() {
      Object.assign(globalThis, { setTimeout, setInterval })
      Date.now = now
    },
  }
}

/** Of these delays, whether they grow as they should: each between half of what is due and all of it, by chance. */
export function growing(delays: number[], initial: number, factor: number, most: number): boolean {
  return delays.every((delay, index) => {
    const due = Math.min(initial * factor ** index, most)
    return delay >= due / 2 && delay <= due
  })
}
