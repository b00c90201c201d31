/** How long to wait before each attempt to connect again. Pure: randomness is an argument. */
export interface Backoff {
  strategy: "linear" | "exponential"
  /** Milliseconds before the first attempt; with `linear`, how much each attempt adds. */
  initialDelay: number
  maxDelay: number
  backoffFactor: number
  /** Attempts in a row before giving up. */
  maxAttempts: number
}

/**
 * Milliseconds to wait before attempt `attempt` (the first is 1), or `null` to give up.
 *
 * Half of each delay is random: clients that lost the same server do not come back in the same moment.
 */
export function delayBefore(attempt: number, backoff: Backoff, random: number): number | null {
  if (attempt > backoff.maxAttempts) return null
  const { strategy, initialDelay, backoffFactor, maxDelay } = backoff
  const grown = initialDelay * (strategy === "linear" ? attempt : backoffFactor ** (attempt - 1))
  return Math.min(grown, maxDelay) * (0.5 + 0.5 * random)
}
