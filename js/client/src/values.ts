/** Values as they travel: a copy in plain JSON, or an error that says what cannot be sent. */
import { invalid } from "./errors.js"

/** Arrays and objects in each other that the server takes; the message counts. */
const MOST_DEEP = 32
const LONE_SURROGATE = /\p{Surrogate}/u

/**
 * A copy of JSON values: dates become texts, members that are `undefined` are left out, and what the caller changes later
 * changes nothing. `depth` is how deep in its message the value stands.
 *
 * Throws `INVALID_REQUEST` for what JSON would drop or change in silence (functions, NaN, a Map), and for what the
 * server would end the connection for (half of a surrogate pair, what is too deep).
 */
export function plain<T>(value: T, depth = 1): T {
  return copy(value, depth, "") as T
}

function copy(value: unknown, depth: number, at: string): unknown {
  switch (typeof value) {
    case "boolean":
      return value
    case "string":
      if (LONE_SURROGATE.test(value)) throw refused(at, "a text with half of a surrogate pair")
      return value
    case "number":
      if (!Number.isFinite(value)) throw refused(at, String(value))
      return value
    case "object":
      if (value === null) return null
      break
    default:
      throw refused(at, `a value of type ${typeof value}`)
  }
  if (value instanceof Date && Number.isNaN(value.getTime())) throw refused(at, "an invalid date")
  const { toJSON } = value as { toJSON?: unknown }
  if (typeof toJSON === "function") return copy((toJSON as () => unknown).call(value), depth, at)
  if (depth > MOST_DEEP) throw refused(at, `more than ${MOST_DEEP} arrays and objects in each other`)
  if (Array.isArray(value)) {
    return value.map((each: unknown, index) => (each === undefined ? null : copy(each, depth + 1, `${at}[${index}]`)))
  }
  const tag = Object.prototype.toString.call(value).slice(8, -1)
  if (tag !== "Object") throw refused(at, `a value of type ${tag}`)
  const made: Record<string, unknown> = {}
  for (const [name, each] of Object.entries(value)) {
    const inner = at === "" ? name : `${at}.${name}`
    if (LONE_SURROGATE.test(name)) throw refused(inner, "a name with half of a surrogate pair")
    if (each !== undefined) set(made, name, copy(each, depth + 1, inner))
  }
  return made
}

function set(target: Record<string, unknown>, name: string, value: unknown): void {
  // as a plain member, `__proto__` would be the prototype
  if (name === "__proto__") Object.defineProperty(target, name, { value, enumerable: true, writable: true, configurable: true })
  else target[name] = value
}

function refused(at: string, what: string): Error {
  return invalid(`${at === "" ? "" : `${at}: `}${what} cannot be sent`)
}
