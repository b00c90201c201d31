/** What checks are made of; alike in Node and in a browser. */

// as it was before a test quickens time
const later = globalThis.setTimeout.bind(globalThis)
const PATIENCE = 20_000

/** Wait for a condition, and give what it found. */
export async function until<T>(look: () => T | Promise<T>, told: () => unknown = () => ""): Promise<T> {
  const deadline = performance.now() + PATIENCE
  for (;;) {
    const found = await look()
    if (found) return found
    if (performance.now() > deadline) throw new Error(`waited in vain for ${String(look)}: ${text(told())}`)
    await pause(10)
  }
}

export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => later(resolve, milliseconds))
}

export function same(actual: unknown, expected: unknown): void {
  if (text(actual) !== text(expected)) throw new Error(`${text(actual)} is not ${text(expected)}`)
}

export function holds(condition: unknown, what: string): asserts condition {
  if (!condition) throw new Error(`it does not hold that ${what}`)
}

/** As JSON, members in order of their names. */
function text(value: unknown): string {
  const sorted = (_: string, each: unknown): unknown =>
    typeof each === "object" && each !== null && !Array.isArray(each)
      ? Object.fromEntries(Object.entries(each).sort(([one], [other]) => (one < other ? -1 : 1)))
      : each
  return JSON.stringify(value, sorted) ?? "undefined"
}

/** A function that remembers what it was called with. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type Spy = ((...values: any[]) => void) & { calls: any[][]; readonly last: any }

/** `last` is the first argument of the newest call. */
export function spy(): Spy {
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  const calls: any[][] = []
  return Object.defineProperties((...values: unknown[]) => void calls.push(values), {
    calls: { value: calls },
    last: { get: () => calls.at(-1)?.[0] as unknown },
  }) as Spy
}

/** The ids of rows. */
export function ids(rows: { id: string }[] | undefined): string[] {
  return (rows ?? []).map(({ id }) => id)
}
