import { expect, it } from "vitest"
import { delayBefore, type Backoff } from "../src/backoff.js"
import { vectors } from "./vectors.js"

interface Case {
  backoff: Backoff
  attempt: number
  chance: number
  delay: number | null
}

it.each(vectors<Case>("backoff"))("waits as the Python client does %#", ({ backoff, attempt, chance, delay }) => {
  const found = delayBefore(attempt, backoff, chance)
  if (delay === null) expect(found).toBeNull()
  else expect(found).toBeCloseTo(delay, 6)
})

it("never gives up without a number of attempts", () => {
  const backoff: Backoff = { strategy: "exponential", initialDelay: 1000, maxDelay: 30_000, backoffFactor: 2, maxAttempts: Infinity }
  expect(delayBefore(1_000_000, backoff, 1)).toBe(30_000)
})
