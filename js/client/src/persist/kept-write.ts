/** Kept writes: which entries are writes at all, and their order. Pure. */
import type { OneWrite } from "../protocol.js"
import type { WriteRequest } from "../writes.js"
import type { KeptWrite } from "./database.js"

/** The writes of a request. That of a `restore` is like a deletion: what it makes is not known before. */
export function writesIn(request: WriteRequest): readonly OneWrite[] {
  return "writes" in request ? request.writes : [request as OneWrite]
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null && !Array.isArray(value)

/** Whether a value from the database is a kept write. */
export function isKeptWrite(value: unknown): value is KeptWrite {
  if (!isRecord(value)) return false
  const { space, at, tab, request, sent } = value
  const isWhole = typeof space === "string" && typeof at === "number" && typeof tab === "string" && (sent === null || typeof sent === "number")
  return isWhole && isRequest(request)
}

function isRequest(request: unknown): request is WriteRequest {
  if (!isRecord(request)) return false
  const { type, writes } = request
  if (type === "transaction") return isName(request["request"]) && Array.isArray(writes) && writes.every((write) => isWrite(write))
  if (type === "writeMany") return Array.isArray(writes) && writes.every((write) => isWrite(write) && isName(write["request"]))
  return isWrite(request, "restore") && isName(request["request"])
}

const isName = (value: unknown): boolean => typeof value === "string" && value !== ""

function isWrite(write: unknown, also = ""): write is Record<string, unknown> {
  if (!isRecord(write)) return false
  const { type, collection, entity, data, changes } = write
  const body = type === "create" ? isRecord(data) : type === "update" ? isRecord(changes) : type === "delete" || type === also
  return body && isName(collection) && isName(entity)
}

/** Orders writes as they were made. */
export function inOrder(writes: readonly KeptWrite[]): KeptWrite[] {
  return [...writes].sort((a, b) => a.at - b.at || (a.tab < b.tab ? -1 : 1))
}

/** Numbers that increase with time, in milliseconds since the epoch. */
export interface Ticker {
  /** Returns each number once. */
  (): number
  /** Returns larger ones than this from now on: what an earlier page has kept comes first, whatever the clock says. */
  pass(number: number): void
}

export function ticker(now: () => number): Ticker {
  let last = 0
  const pass = (number: number): void => void (last = Math.max(last, number))
  return Object.assign(() => (last = Math.max(last + 1, now())), { pass })
}
