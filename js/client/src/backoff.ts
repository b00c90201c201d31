/** The delay before each attempt to reconnect. Pure: randomness is an argument. */
export interface Backoff {
  strategy: "linear" | "exponential"
  /** Milliseconds before the first attempt; with `linear`, each attempt adds as much. */
  initialDelay: number
  maxDelay: number
  backoffFactor: number
  /** Attempts in a row before giving up. */
  maxAttempts: number
}

/**
 * Milliseconds to wait before attempt `attempt` (the first is 1), or `null` to give up.
 *
 * Half of each delay is random, so that clients of a lost server do not reconnect at the same moment.
 */
export function delayBefore(attempt: number, backoff: Backoff, random: number): number | null {
  if (attempt > backoff.maxAttempts) return null
  const { strategy, initialDelay, backoffFactor, maxDelay } = backoff
  const grown = initialDelay * (strategy === "linear" ? attempt : backoffFactor ** (attempt - 1))
  return Math.min(grown, maxDelay) * (0.5 + 0.5 * random)
}
