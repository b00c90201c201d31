/**
 * Whether a row fits a query, and in which order rows come: for showing writes before the server has confirmed them.
 * The meaning is the server's (docs/protocol.md, Queries); what the server sends is what counts.
 */
import type { Data, OrderBy, Query, Where } from "./types.js"

const DATE = /^\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d))?$/

/** Points in time compare as such, however they are written; all else as it is. */
function comparable(value: unknown): unknown {
  if (value instanceof Date) return "\u0000" + value.toISOString()
  if (typeof value === "string" && DATE.test(value)) {
    const moment = Date.parse(value.replace(" ", "T"))
    if (!Number.isNaN(moment)) return "\u0000" + new Date(moment).toISOString()
  }
  return value ?? null
}

function lookup(data: unknown, path: string): unknown {
  let value = data
  for (const name of path.split(".")) {
    if (typeof value !== "object" || value === null || Array.isArray(value) || !Object.hasOwn(value, name)) return null
    value = (value as Data)[name]
  }
  return value
}

const ORDERED: Record<string, (a: string | number, b: string | number) => boolean> = {
  lt: (a, b) => a < b,
  lte: (a, b) => a <= b,
  gt: (a, b) => a > b,
  gte: (a, b) => a >= b,
}

function test(value: unknown, operator: string, operand: unknown): boolean {
  const mine = comparable(value)
  switch (operator) {
    case "in":
      return (operand as unknown[]).some((each) => comparable(each) === mine)
    case "notIn":
      return !test(value, "in", operand)
    case "not":
      return !fits(value, operand)
    case "isNull":
      return (mine === null) === operand
    case "contains":
      return Array.isArray(value)
        ? value.some((each) => comparable(each) === comparable(operand))
        : typeof value === "string" && typeof operand === "string" && value.includes(operand)
    case "startsWith":
      return typeof value === "string" && value.startsWith(operand as string)
    case "endsWith":
      return typeof value === "string" && value.endsWith(operand as string)
    default: {
      const other = comparable(operand)
      const compare = ORDERED[operator]
      return (
        compare !== undefined &&
        typeof mine === typeof other &&
        (typeof mine === "string" || typeof mine === "number") &&
        compare(mine, other as typeof mine)
      )
    }
  }
}

const OPERATORS = new Set([...Object.keys(ORDERED), "in", "notIn", "not", "isNull", "contains", "startsWith", "endsWith"])

function fits(value: unknown, wanted: unknown): boolean {
  if (typeof wanted === "object" && wanted !== null && !(wanted instanceof Date)) {
    return Object.entries(wanted).every(([name, operand]) =>
      OPERATORS.has(name) ? test(value, name, operand) : fits(lookup(value, name), operand),
    )
  }
  return comparable(value) === comparable(wanted)
}

/** Whether a row is one of those that `where` asks for. */
export function matches(data: Data, where: Where | undefined): boolean {
  return Object.entries(where ?? {}).every(([name, wanted]) => {
    if (wanted === undefined) return true
    if (name === "AND") return (wanted as Where[]).every((part) => matches(data, part))
    if (name === "OR") return (wanted as Where[]).some((part) => matches(data, part))
    if (name === "NOT") return !matches(data, wanted as Where)
    return fits(lookup(data, name), wanted)
  })
}

function rank(value: unknown): [number, string | number] {
  const mine = comparable(value)
  if (mine === null) return [0, 0]
  if (typeof mine === "boolean") return [1, mine ? 1 : 0]
  if (typeof mine === "number") return [2, mine]
  if (typeof mine === "string") return [3, mine]
  return [4, 0]
}

/** Puts rows in the order of a query. */
export function comparator(orderBy: OrderBy | OrderBy[] | undefined): (a: Data, b: Data) => number {
  const keys = (Array.isArray(orderBy) ? orderBy : [orderBy ?? {}]).flatMap((each) => Object.entries(each))
  return (a, b) => {
    for (const [path, direction] of keys) {
      const [left, right] = [rank(lookup(a, path)), rank(lookup(b, path))]
      const order =
        left[0] !== right[0] ? left[0] - right[0] : left[1] < right[1] ? -1 : left[1] > right[1] ? 1 : 0
      if (order !== 0) return direction === "desc" ? -order : order
    }
    return a["id"] < b["id"] ? -1 : a["id"] > b["id"] ? 1 : 0
  }
}

/** A write that the server has not confirmed yet. */
export interface PendingWrite {
  collection: string
  id: string
  kind: "create" | "update" | "delete"
  data: Data
  unset: string[]
}

/** The rows of a query as they will be once the server has taken `writes` in, as far as can be told here. */
export function withPending(rows: readonly Data[], query: Query, writes: readonly PendingWrite[]): readonly Data[] {
  if (writes.length === 0) return rows
  const byId = new Map(rows.map((row) => [row["id"] as string, row]))
  for (const { id, kind, data, unset } of writes) {
    const row = byId.get(id)
    if (kind === "delete") byId.delete(id)
    else if (kind === "create" || row !== undefined) {
      const next: Data = { ...row, ...data, id }
      for (const name of unset) delete next[name]
      if (matches(next, query.where)) byId.set(id, next)
      else byId.delete(id)
    }
  }
  const next = [...byId.values()].sort(comparator(query.orderBy))
  return query.limit === undefined ? next : next.slice(0, query.limit)
}
