/** Tasks and operations on them. */
import type { Entity, EntityEvent, Query } from "@lumenize/client"

import { colourOf } from "../shared/me"

export const COLUMNS = [
  { status: "todo", title: "To do" },
  { status: "doing", title: "In progress" },
  { status: "done", title: "Done" },
] as const

export type Status = (typeof COLUMNS)[number]["status"]

export interface Assignee {
  name: string
  color: string
}

export interface Fields {
  title: string
  status: Status
  /** Tasks of a column are sorted by this number. */
  rank: number
  assignee?: Assignee | null
}

export type Task = Entity<Fields>
export type TaskEvent = EntityEvent<Fields>

const example = (number: number, status: Status, title: string, name?: string): Fields & { id: string } => ({
  id: `example-${number}`,
  title,
  status,
  rank: number * 1000,
  assignee: name === undefined ? null : { name, color: colourOf(name) },
})

/** Sample tasks for an empty board. */
export const EXAMPLES = [
  example(1, "todo", "Choose photographs for the field guide"),
  example(2, "todo", "Ask the ferry house about the keys", "Grace"),
  example(3, "todo", "Repair the east bank signpost"),
  example(4, "doing", "Count the herons at dawn", "Ada"),
  example(5, "doing", "Draw the map of the reed beds", "Alan"),
  example(6, "done", "Borrow the long lens", "Ada"),
]

/** The filter of the board. `person` is a name, `null` for unassigned tasks, and absent for all. */
export interface Filter {
  person?: string | null
  status?: Status
}

export function queryOf({ person, status }: Filter): Query<Fields> {
  return {
    where: {
      ...(person === null && { assignee: { isNull: true } }),
      ...(typeof person === "string" && { "assignee.name": person }),
      ...(status !== undefined && { status }),
    },
    orderBy: { rank: "asc" },
  }
}

/** The number that places a task before `before`, or at the end of its column. */
export function rankBefore(column: readonly Task[], before: string | null): number {
  const at = before === null ? column.length : column.findIndex(({ id }) => id === before)
  const after = column[at]?.rank
  const ahead = column[at - 1]?.rank
  if (after === undefined) return ahead === undefined ? Date.now() : Math.max(Date.now(), ahead + 1)
  return ahead === undefined ? after - 1000 : (ahead + after) / 2
}

/** The value of a field for display. */
export function readable(value: unknown): string {
  if (value === null || value === undefined) return "nobody"
  if (typeof value === "object") return String((value as { name?: unknown }).name ?? "…")
  return COLUMNS.find(({ status }) => status === value)?.title ?? String(value)
}

/** A person's action, as the rest of a sentence that begins with their name. */
export function deed({ type, changes }: TaskEvent): string {
  if (type === "created") return "made this card"
  if (type === "deleted") return "deleted it"
  if (type === "restored") return "brought it back"
  const { title, status, assignee } = changes
  const deeds = [
    ...(title ? [`renamed it to “${readable(title.to)}”`] : []),
    ...(status ? [`moved it to ${readable(status.to)}`] : []),
    ...(assignee ? [assignee.to == null ? "gave it to nobody" : `gave it to ${readable(assignee.to)}`] : []),
  ]
  return deeds.join(", ") || "moved it within its column"
}
