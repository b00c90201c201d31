/**
 * Rows as they will be once the own writes are committed. The twin of `collab/client/overlay.py`.
 *
 * A write is shown at once where that is simple and right: an update where its row is known, a deletion, and a creation
 * in a query that tells which rows it wants and shows all their members from the first one on. Everything else waits
 * for the server.
 */
import { comparator, compileWhere } from "./match.js"
import type { Data, Query } from "./types.js"

/** One own write. Once it is committed, as `version`, it is shown until rows have it. */
export interface Op {
  kind: "create" | "update" | "delete"
  collection: string
  id: string
  values: Data
  unset: readonly string[]
  version?: number
}

/** An entity's data after a write; `undefined` if there is no such entity then, or none is known. */
export function apply(op: Op, data: Data | undefined): Data | undefined {
  if (op.kind === "delete") return undefined
  if (op.kind === "create") return data ?? op.values
  if (data === undefined) return undefined
  const next: Data = { ...data, ...op.values }
  for (const name of op.unset) delete next[name]
  return next
}

/** Rows with `ops` done to them, still in order and within the query. */
export type Lens = (rows: readonly Data[], versions: ReadonlyMap<string, number>, ops: readonly Op[]) => readonly Data[]

export function lens(query: Query, fields: readonly string[] | undefined): Lens {
  const whole = fields === undefined && !query.offset && query.after == null
  let wanted: ((row: Data) => boolean) | null = null
  let compare: ((a: Data, b: Data) => number) | null = null
  try {
    if (whole) [wanted, compare] = [compileWhere(query.where), comparator(query.orderBy)]
  } catch {
    // it makes no sense: the server will say so
  }
  return (rows, versions, ops) => {
    const news = ops.filter(({ id, version }) => version === undefined || (versions.get(id) ?? 0) < version)
    if (news.length === 0) return rows
    const now = new Map(rows.map((row) => [row["id"] as string, row]))
    let made = false
    for (const op of news) {
      const row = now.get(op.id)
      if (row === undefined && (op.kind !== "create" || wanted === null)) continue
      made = true
      let after = apply(op, row)
      if (after !== undefined && fields !== undefined) {
        after = Object.fromEntries(Object.entries(after).filter(([name]) => name === "id" || name === "permissions" || fields.includes(name)))
      }
      if (after === undefined || wanted?.(after) === false) now.delete(op.id)
      else now.set(op.id, after)
    }
    const shown = [...now.values()]
    if (!made || compare === null) return shown
    return shown.sort(compare).slice(0, query.limit ?? undefined)
  }
}
