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
 * Half of an exponential delay is random: clients that lost the same server do not come back in the same moment.
 */
export function delayBefore(attempt: number, backoff: Backoff, random: number): number | null {
  if (attempt > backoff.maxAttempts) return null
  if (backoff.strategy === "linear") return Math.min(backoff.initialDelay * attempt, backoff.maxDelay)
  const full = Math.min(backoff.initialDelay * backoff.backoffFactor ** (attempt - 1), backoff.maxDelay)
  return full / 2 + (full / 2) * random
}
