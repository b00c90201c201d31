/** The rows of a list as text, and back. Pure. */
import type { ServerMessage } from "../protocol.js"
import type { GroupsSubscription, RowsSubscription, Subscription } from "../subscription.js"
import type { Data } from "../schema.js"

/** What a list shows without the own writes, and the versions of its rows. */
export interface KeptRows {
  rows: readonly Data[]
  versions: readonly number[]
}

type RowsMessage = Extract<ServerMessage, { type: "rows" }>

/** A live query, or a live aggregate. */
export type List = RowsSubscription | GroupsSubscription

export const keepable = (subscription: Subscription): subscription is List =>
  subscription.target.kind === "rows" || subscription.target.kind === "aggregate"

/** What the server has told last: another array after each of its messages; `null` before the first. */
export function contentOf(list: List): readonly Data[] | null {
  return "groups" in list ? list.groups : list.known ? list.rows : null
}

export function writeRows(subscription: List): string {
  if ("groups" in subscription) return JSON.stringify({ rows: subscription.groups ?? [], versions: [] } satisfies KeptRows)
  const { rows, versions } = subscription
  return JSON.stringify({ rows, versions: rows.map(({ id }) => versions.get(id as string) ?? 0) } satisfies KeptRows)
}

/** Kept rows as the message that brings them; `null` if the text is not what `JSON.stringify` makes of kept rows. */
export function readRows(text: unknown, sub: number): RowsMessage | null {
  try {
    const { rows, versions } = JSON.parse(text as string) as Partial<KeptRows>
    const isWhole = Array.isArray(rows) && Array.isArray(versions) && rows.every(isRow) && versions.every(Number.isSafeInteger)
    return isWhole ? { type: "rows", sub, rows, versions } : null
  } catch {
    return null
  }
}

const isRow = (row: unknown): boolean => typeof row === "object" && row !== null && typeof (row as Data)["id"] === "string"
