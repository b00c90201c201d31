/** The options of applications: names, defaults and valid values. */
import type { Backoff } from "./backoff.js"
import { invalid } from "./errors.js"
import type {
  ClientOptions,
  FindOptions,
  HistoryOptions,
  OpenOptions,
  PersistOptions,
  RateLimit,
  ReadOptions,
  SubscribeOptions,
  WebSocketOptions,
  WriteOptions,
} from "./types.js"

/** Default values. Times are in milliseconds. */
export const DEFAULTS = {
  maxPendingWrites: 1000,
  optimistic: true,
  conflicts: "merge",
  autoReconnect: true,
  reconnectStrategy: "exponential",
  initialDelay: 1000,
  maxDelay: 30_000,
  backoffFactor: 2,
  maxAttempts: Infinity,
  heartbeatInterval: 30_000,
  heartbeatTimeout: 10_000,
  connectTimeout: 10_000,
  requestTimeout: 30_000,
  compression: false,
  binaryProtocol: false,
} as const

/** A description of valid values, and a function that tests a value. */
type Kind = readonly [string, (value: unknown) => boolean]

const is = (type: string): Kind => [`a ${type}`, (value) => typeof value === type]
const BOOLEAN = is("boolean")
const FUNCTION = is("function")
const TEXT = is("string")
const OBJECT: Kind = ["an object", (value) => typeof value === "object" && value !== null && !Array.isArray(value)]
const LIST: Kind = ["a list", Array.isArray]
const TEXTS: Kind = ["a list of strings", (value) => Array.isArray(value) && value.every((each) => typeof each === "string")]
const TOKEN: Kind = ["a string or a function", (value) => typeof value === "string" || typeof value === "function"]
const from = (least: number): Kind => [`a number of at least ${least}`, (value) => typeof value === "number" && value >= least]
const oneOf = (...texts: string[]): Kind => [texts.map((text) => `"${text}"`).join(" or "), (value) => texts.includes(value as string)]

type Table<O> = Readonly<Record<keyof O, Kind>>

const CLIENT: Table<ClientOptions> = {
  url: TEXT,
  projectId: TEXT,
  apiKey: TEXT,
  userId: TEXT,
  token: TOKEN,
  websocket: OBJECT,
  maxPendingWrites: from(1),
  optimistic: BOOLEAN,
  conflicts: oneOf("merge", "reject"),
  onConflict: FUNCTION,
  persist: ["a boolean or an object", (value) => typeof value === "boolean" || OBJECT[1](value)],
  traceparent: FUNCTION,
  WebSocket: FUNCTION,
}
const WEBSOCKET: Table<WebSocketOptions> = {
  autoReconnect: BOOLEAN,
  reconnectStrategy: oneOf("exponential", "linear"),
  reconnectInterval: from(0),
  initialDelay: from(0),
  maxDelay: from(0),
  backoffFactor: from(1),
  maxAttempts: from(0),
  maxReconnectAttempts: from(0),
  heartbeatInterval: from(0),
  heartbeatTimeout: from(1),
  connectTimeout: from(1),
  requestTimeout: from(1),
  subscriptionRateLimit: OBJECT,
  compression: BOOLEAN,
  binaryProtocol: BOOLEAN,
  onReconnectFailed: FUNCTION,
}
const PERSIST: Table<PersistOptions> = { name: TEXT, maxBytes: from(1) }
const LIMITS: Table<RateLimit> = { maxSubscriptions: from(1), maxEventsPerSecond: from(1) }
export const READ: Table<ReadOptions> = { fields: TEXTS, includePermissions: BOOLEAN }
export const LIVE: Table<Omit<SubscribeOptions, keyof ReadOptions>> = { condition: FUNCTION, onError: FUNCTION, onResume: FUNCTION }
export const SUBSCRIBE: Table<SubscribeOptions> = { ...READ, ...LIVE }
export const FIND: Table<FindOptions> = {
  content: BOOLEAN,
  version: from(1),
  at: ["a Date or a string", (value) => value instanceof Date || typeof value === "string"],
  includePermissions: BOOLEAN,
}
export const HISTORY: Table<HistoryOptions> = { limit: from(1), before: from(1) }
export const OPEN: Table<OpenOptions> = { doc: OBJECT }
export const WRITE: Table<WriteOptions> = { version: from(0), onConflict: oneOf("merge", "reject"), unset: TEXTS }

/** Returns a copy of the given options. Throws `INVALID_REQUEST` for unknown options and invalid values. */
export function check<O extends object>(given: O, table: Table<O>, place = ""): O {
  need(`${place.slice(0, -1) || "options"}:`, OBJECT, given)
  const said: [string, unknown][] = Object.entries(given).filter(([, value]) => value !== undefined)
  for (const [name, value] of said) {
    const kind = Object.hasOwn(table, name) ? (table as Record<string, Kind>)[name] : undefined
    if (kind === undefined) throw invalid(`unknown option ${place}${name}; options are ${Object.keys(table).join(", ")}`)
    need(`${place}${name}:`, kind, value)
  }
  return Object.fromEntries(said.map(([name, value]) => [name, Array.isArray(value) ? [...(value as unknown[])] : value])) as O
}

function need(what: string, [kind, isValid]: Kind, value: unknown): void {
  if (!isValid(value)) throw invalid(`${what} must be ${kind}, not ${text(value)}`)
}

/** Throws `INVALID_REQUEST` if a callback is not a function. */
export const checkCallback = (callback: unknown): void => need("a callback", FUNCTION, callback)

/** Throws `INVALID_REQUEST` if a name or id is not a string. */
export const checkName = (what: string, name: unknown): void => need(what, TEXT, name)

/** Throws `INVALID_REQUEST` if a value is not an object with members. */
export const checkObject = (what: string, value: unknown): void => need(what, OBJECT, value)

/** Throws `INVALID_REQUEST` if a value is not a list. */
export const checkList = (what: string, value: unknown): void => need(what, LIST, value)

/** Throws `INVALID_REQUEST` for a value that is not an object, and for names that queries would read as paths. */
export function checkData(data: unknown): void {
  checkObject("the data of an entity", data)
  const path = Object.keys(data as object).find((name) => name.includes("."))
  if (path !== undefined) throw invalid(`${path}: field names cannot contain dots; write the whole field, ${path.split(".")[0]}`)
}

function text(value: unknown): string {
  try {
    return JSON.stringify(value) ?? String(value)
  } catch {
    return typeof value
  }
}

/** All settings of a client. */
export type Settings = ReturnType<typeof readOptions>

export function readOptions(given: ClientOptions) {
  const { websocket = {}, persist = false, ...options } = check(given, CLIENT)
  const { subscriptionRateLimit = {}, reconnectInterval, maxReconnectAttempts, ...more } = check(websocket, WEBSOCKET, "websocket.")
  const said = {
    ...DEFAULTS,
    ...(reconnectInterval !== undefined && { initialDelay: reconnectInterval }),
    ...(maxReconnectAttempts !== undefined && { maxAttempts: maxReconnectAttempts }),
    ...more,
    ...options,
  }
  const { reconnectStrategy: strategy, initialDelay, maxDelay, backoffFactor, maxAttempts } = said
  const backoff: Backoff = { strategy, initialDelay, maxDelay, backoffFactor, maxAttempts }
  return { ...said, ...check(subscriptionRateLimit, LIMITS, "websocket.subscriptionRateLimit."), url: endpoint(options.url), backoff, persist: persist && check(persist === true ? {} : persist, PERSIST, "persist.") }
}

/** The URL of `/realtime`, by default on the page's own server. */
function endpoint(url: string | undefined): string {
  const page = typeof location === "undefined" || !location.host ? "http://localhost:8000" : location.origin
  // relative to the page, "collab.example.com" would be a path
  if (!/^((http|ws)s?:|\/)/i.test(url ?? page)) throw invalid(`url: must begin with http, https, ws or wss, not ${text(url)}`)
  let target: URL
  try {
    target = new URL(url ?? page, url?.startsWith("/") ? page : undefined)
  } catch {
    throw invalid(`url: ${text(url)} is not a URL`)
  }
  target.protocol = target.protocol.replace("http", "ws")
  if (!target.pathname.endsWith("/realtime")) target.pathname = target.pathname.replace(/\/$/, "") + "/realtime"
  return target.href
}
