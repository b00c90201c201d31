/** Compares queries by value. */

/**
 * A string that is equal for values that mean the same: the order of members does not count, except in `orderBy`.
 *
 * Values that JSON would drop or change (`undefined`, NaN, a function) give another string, so that a query that the
 * client refuses never equals one that it accepts.
 */
export function keyOf(value: unknown): string {
  try {
    return JSON.stringify(ordered(value))
  } catch {
    return MARK // a circular value
  }
}

/** First character of strings that stand for a value that JSON lacks. */
const MARK = "\0"

function ordered(value: unknown): unknown {
  if (typeof value === "string") return value.startsWith(MARK) ? MARK + value : value
  if (value === null || typeof value === "boolean") return value
  if (typeof value === "number") return Number.isFinite(value) ? value : `${MARK}${value}`
  if (typeof value !== "object") return `${MARK}${typeof value} ${String(value)}`
  if (Array.isArray(value)) return Array.from(value, ordered)
  const { toJSON } = value as { toJSON?: unknown }
  if (typeof toJSON === "function") return (toJSON as () => unknown).call(value) ?? `${MARK}invalid`
  const tag = Object.prototype.toString.call(value)
  if (tag !== "[object Object]") return MARK + tag
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, each]) => [name, name === "orderBy" ? entries(each) : ordered(each)]),
  )
}

function entries(orderBy: unknown): unknown {
  const isPlain = typeof orderBy === "object" && orderBy !== null && !Array.isArray(orderBy)
  return isPlain ? Object.entries(orderBy).map(([name, each]) => [name, ordered(each)]) : Array.isArray(orderBy) ? orderBy.map(entries) : ordered(orderBy)
}
