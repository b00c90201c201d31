/** Values as they are sent: a copy in plain JSON, or an error that names the value that cannot be sent. */
import { invalid } from "./errors.js"
import { checkObject } from "./options.js"
import type { Query } from "./queries.js"

/** Nested arrays and objects that the server accepts; the message counts. */
const MOST_DEEP = 32
const LONE_SURROGATE = /\p{Surrogate}/u

/**
 * A deep copy of JSON values: dates become strings, and members that are `undefined` are omitted. `depth` is the depth
 * of the value in its message.
 *
 * Throws `INVALID_REQUEST` for values that JSON would drop or change silently (functions, NaN, a Map), and for those that
 * would end the connection (a lone surrogate, too many levels).
 */
export function plain<T>(value: T, depth = 1): T {
  return copy(value, depth, "", false) as T
}

/**
 * The same for a query, which may not contain `undefined`: omitting a condition would match more rows than intended.
 */
export function plainQuery<Q = Query>(query: object, depth: number): Q {
  checkObject("a query", query)
  return copy(query, depth, "", true) as Q
}

function copy(value: unknown, depth: number, at: string, complete: boolean): unknown {
  switch (typeof value) {
    case "boolean":
      return value
    case "string":
      if (LONE_SURROGATE.test(value)) throw refused(at, "a string with a lone surrogate")
      return value
    case "number":
      if (!Number.isFinite(value)) throw refused(at, String(value))
      return value
    case "object":
      if (value === null) return null
      break
    case "undefined":
      throw refused(at, complete ? "undefined in a query (omit the member, or use null)" : "undefined")
    default:
      throw refused(at, `a value of type ${typeof value}`)
  }
  if (value instanceof Date && Number.isNaN(value.getTime())) throw refused(at, "an invalid date")
  const { toJSON } = value as { toJSON?: unknown }
  if (typeof toJSON === "function") return copy((toJSON as () => unknown).call(value), depth, at, complete)
  if (depth > MOST_DEEP) throw refused(at, `more than ${MOST_DEEP} nested arrays and objects`)
  // `map` would skip holes
  if (Array.isArray(value)) return Array.from(value, (each: unknown, index) => copy(each, depth + 1, `${at}[${index}]`, complete))
  const tag = Object.prototype.toString.call(value).slice(8, -1)
  if (tag !== "Object") throw refused(at, `a value of type ${tag}`)
  const made: Record<string, unknown> = {}
  for (const [name, each] of Object.entries(value)) {
    const inner = at === "" ? name : `${at}.${name}`
    if (LONE_SURROGATE.test(name)) throw refused(inner, "a name with a lone surrogate")
    if (each !== undefined || complete) set(made, name, copy(each, depth + 1, inner, complete))
  }
  return made
}

function set(target: Record<string, unknown>, name: string, value: unknown): void {
  // assigning `__proto__` would set the prototype
  if (name === "__proto__") Object.defineProperty(target, name, { value, enumerable: true, writable: true, configurable: true })
  else target[name] = value
}

function refused(at: string, what: string): Error {
  return invalid(`${at === "" ? "" : `${at}: `}${what} cannot be sent`)
}
