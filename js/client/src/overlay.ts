/**
 * Rows as they will be once the own writes are committed. Pure: the result depends only on the server's last rows, their
 * versions, and the own writes.
 *
 * 1. A write applies to a row of a smaller version, or, before it is committed, to any. Several writes to one entity
 *    apply one after the other.
 * 2. A write is shown where that is simple and right: an update if its row is known, a deletion, and a creation in a
 *    query without `fields`, `search`, `offset` and `after`. Everything else waits for the server.
 * 3. A creation does not change an existing entity: the server refuses it. A committed write shows the server's result,
 *    which may differ from the written values (a conflict).
 * 4. An uncommitted write counts as later than all rows received and all earlier own writes, whatever the clock of this
 *    device says; its `createdAt` and `updatedAt` show this.
 */
import { comparator, compileWhere } from "./match.js"
import type { Query } from "./queries.js"
import type { Data } from "./schema.js"

/** One own write. */
export interface Op {
  kind: "create" | "update" | "delete"
  collection: string
  id: string
  /** The written values; once committed (except for deletions) the whole entity. */
  values: Data
  unset: readonly string[]
  /** Time of the write, in milliseconds since the epoch by the clock of this device. */
  made?: number
  /** The entity's version, once committed. */
  version?: number
  /** Its number among the own committed writes, once committed. */
  commit?: number
}

/** The own writes that affect live queries. */
export interface OwnWrites {
  /** The number of own writes known to be committed. */
  readonly commits: number
  ops(collection: string): readonly Op[]
  /** Whether a list that shows a write should be read again. */
  isLate(op: Op): boolean
  /** A list of a collection has received rows or steps. */
  told(collection: string): void
}

/** An entity's data after a write; `undefined` if it does not exist then, or is unknown. */
export function apply(op: Op, data: Data | undefined): Data | undefined {
  if (op.kind === "delete") return undefined
  if (op.kind === "create" && (data === undefined || op.commit !== undefined)) return op.values
  if (op.kind === "create" || data === undefined) return data
  const { permissions } = data
  if (op.commit !== undefined) return permissions === undefined ? op.values : { ...op.values, permissions: permissions as unknown }
  const next: Data = { ...data, ...op.values }
  for (const name of op.unset) delete next[name]
  return next
}

/** Versions of rows in the list, and of rows that have left it. */
export type Versions = ReadonlyMap<string, number>

/** Whether a list does not include the effect of a write yet. */
export function isNews({ id, version }: Op, versions: Versions): boolean {
  return version === undefined || (versions.get(id) ?? 0) < version
}

/** Applies `ops` to rows, in order; the result stays sorted and within the query. */
export type Lens = (rows: readonly Data[], versions: Versions, ops: readonly Op[]) => readonly Data[]

export function lens(query: Query, fields: readonly string[] | undefined): Lens {
  const whole = fields === undefined && !query.offset && query.after == null && query.search == null
  let wanted: ((row: Data) => boolean) | null = null
  let compare: ((a: Data, b: Data) => number) | null = null
  try {
    if (whole) [wanted, compare] = [compileWhere(query.where), comparator(query.orderBy)]
  } catch {
    // an invalid query: the server will refuse it
  }
  const select = (data: Data): Data => {
    if (fields === undefined) return data
    return Object.fromEntries(Object.entries(data).filter(([name]) => name === "id" || name === "permissions" || fields.includes(name)))
  }
  return (rows, versions, ops) => {
    const news = ops.filter((op) => isNews(op, versions))
    if (news.length === 0) return rows
    const now = new Map(rows.map((row) => [row["id"] as string, row]))
    const after = new Map<string, Data | undefined>()
    let last = newest([...rows, ...news.filter((op) => op.version !== undefined).map((op) => op.values)])
    for (const op of news) {
      const before = after.has(op.id) ? after.get(op.id) : now.get(op.id)
      if (before === undefined && (op.kind !== "create" || wanted === null)) continue
      if (op.version === undefined && op.made !== undefined) last = Math.max(last + 1, op.made)
      after.set(op.id, apply(op.version === undefined && op.made !== undefined ? stamped(op, last) : op, before))
    }
    if (after.size === 0) return rows
    for (const [id, data] of after) {
      if (data === undefined || wanted?.(data) === false) now.delete(id)
      else now.set(id, select(data))
    }
    const shown = [...now.values()]
    return compare === null ? shown : shown.sort(compare).slice(0, query.limit ?? undefined)
  }
}

/** The newest time in rows, in milliseconds since the epoch. */
function newest(rows: readonly Data[]): number {
  let text = ""
  for (const { createdAt, updatedAt } of rows) {
    if (typeof createdAt === "string" && createdAt > text) text = createdAt
    if (typeof updatedAt === "string" && updatedAt > text) text = updatedAt
  }
  return Date.parse(text) || 0
}

function stamped(op: Op, time: number): Op {
  const at = new Date(time).toISOString()
  return { ...op, values: { ...op.values, ...(op.kind === "create" && { createdAt: at }), updatedAt: at } }
}
