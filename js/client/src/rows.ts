/** From one list of rows to the next. The twin of `collab/query/steps.py`. */
import type { Step } from "./protocol.js"
import type { Data } from "./types.js"

/** Make `steps` in order; returns a new list, in which unchanged rows are the same objects. */
export function applySteps(rows: readonly Data[], steps: readonly Step[]): Data[] {
  const next = [...rows]
  for (const step of steps) {
    const at = next.findIndex((row) => row["id"] === step.id)
    switch (step.op) {
      case "enter":
        if (at >= 0) next.splice(at, 1)
        next.splice(step.index ?? next.length, 0, step.data ?? { id: step.id })
        break
      case "leave":
        if (at >= 0) next.splice(at, 1)
        break
      case "move":
        if (at >= 0) next.splice(step.index ?? next.length, 0, changed(next.splice(at, 1)[0] as Data, step))
        break
      case "change":
        if (at >= 0) next[at] = changed(next[at] as Data, step)
        break
    }
  }
  return next
}

function changed(row: Data, step: Step): Data {
  if (step.set === undefined && step.unset === undefined) return row
  const next = { ...row, ...step.set }
  for (const name of step.unset ?? []) delete next[name]
  return next
}
