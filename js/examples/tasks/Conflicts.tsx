import type { Conflict } from "@lumenize/client"
import { useLumenizeClient } from "@lumenize/react"
import { useEffect, useState, type ReactElement } from "react"

import { report } from "./Board"
import { COLUMNS, type Fields } from "./tasks"

interface Shown {
  number: number
  id: string
  field: "title" | "status" | "assignee"
  conflict: Conflict
}

const NAMES = { title: "the title", status: "the column", assignee: "who does it" }

/** What of a value a person understands. */
function readable(value: unknown): string {
  if (value === null || value === undefined) return "nobody"
  if (typeof value === "object") return String((value as { name?: unknown }).name ?? "…")
  return COLUMNS.find(({ status }) => status === value)?.title ?? String(value)
}

let next = 1

/** Where this page and another wrote the same without having seen each other: what holds, what does not, and a choice. */
export function Conflicts(): ReactElement {
  const client = useLumenizeClient<{ tasks: Fields }>()
  const [shown, setShown] = useState<Shown[]>([])
  useEffect(
    () =>
      client.onConflict((conflicts, { collection, id }) => {
        if (collection !== "tasks") return
        const told = conflicts.flatMap((conflict): Shown[] => {
          const { field, theirs, yours } = conflict
          if ((field !== "title" && field !== "status" && field !== "assignee") || same(theirs, yours)) return []
          return [{ number: next++, id, field, conflict }]
        })
        setShown((before) => [...before, ...told])
      }),
    [client],
  )
  const drop = (number: number): void => setShown((before) => before.filter((each) => each.number !== number))
  return (
    <div className="conflicts" role="status">
      {shown.map(({ number, id, field, conflict: { winner, yours, theirs } }) => {
        const [holds, other] = winner === "yours" ? [yours, theirs] : [theirs, yours]
        return (
          <div key={number} className="conflict card arrive">
            <p>
              <strong>You and somebody else changed {NAMES[field]}.</strong> “{readable(holds)}” holds now;{" "}
              {winner === "yours" ? "theirs" : "yours"} was “{readable(other)}”.
            </p>
            <div className="choice">
              <button
                type="button"
                onClick={() => {
                  client.tasks.update(id, { [field]: other }).catch(report)
                  drop(number)
                }}
              >
                Use “{readable(other)}”
              </button>
              <button type="button" className="primary" onClick={() => drop(number)}>
                Leave it
              </button>
            </div>
          </div>
        )
      })}
    </div>
  )
}

const same = (one: unknown, other: unknown): boolean => JSON.stringify(one) === JSON.stringify(other)
