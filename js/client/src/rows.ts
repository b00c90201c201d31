/** Applies the steps of a live query to its rows. The twin of `collab/query/steps.py`. */
import type { Step } from "./protocol.js"
import type { Data } from "./schema.js"

/**
 * Applies `steps` in order; returns a new list, in which unchanged rows are the same objects.
 *
 * Returns `null` if a step does not fit these rows: they differ from the server's, and must be read again.
 */
export function applySteps(rows: readonly Data[], steps: readonly Step[]): Data[] | null {
  const next = [...rows]
  for (const { op, id, index = -1, data, set, unset = [], permissions } of steps) {
    const at = next.findIndex((row) => row["id"] === id)
    if (at < 0 !== (op === "enter")) return null
    let row = next[at] as Data
    if (op === "enter") {
      if (data?.["id"] !== id) return null
      row = permissions === undefined ? data : { ...data, permissions }
    } else if (op === "change") {
      next[at] = { ...row, ...set }
      for (const name of unset) delete next[at][name]
      continue
    } else next.splice(at, 1)
    if (op === "leave") continue
    if (index < 0 || index > next.length) return null
    next.splice(index, 0, row)
  }
  return next
}
