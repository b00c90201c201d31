/** What a task is, and what is done with tasks. */
import type { Entity } from "@lumenize/client"

export const COLUMNS = [
  { status: "todo", title: "To do" },
  { status: "doing", title: "In progress" },
  { status: "done", title: "Done" },
] as const

export type Status = (typeof COLUMNS)[number]["status"]

export interface Fields {
  title: string
  status: Status
  /** Tasks of a column stand in the order of this number. */
  rank: number
  assignee?: { name: string; color: string } | null
}

export type Task = Entity<Fields>

export const EXAMPLES: readonly [Status, string][] = [
  ["todo", "Choose photographs for the field guide"],
  ["todo", "Ask the ferry house about the keys"],
  ["todo", "Repair the east bank signpost"],
  ["doing", "Count the herons at dawn"],
  ["doing", "Draw the map of the reed beds"],
  ["done", "Borrow the long lens"],
]

/** The number that puts a task in front of `before`, or at the end of its column. */
export function rankBefore(column: readonly Task[], before: string | null): number {
  const at = before === null ? column.length : column.findIndex(({ id }) => id === before)
  const after = column[at]?.rank
  const ahead = column[at - 1]?.rank
  if (after === undefined) return ahead === undefined ? Date.now() : Math.max(Date.now(), ahead + 1)
  return ahead === undefined ? after - 1000 : (ahead + after) / 2
}
