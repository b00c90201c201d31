/** The rows of a list as text, and back. Pure. */
import { keyOf } from "../key.js"
import type { ServerMessage, WireIncluded } from "../protocol.js"
import type { Query } from "../queries.js"
import type { GroupsSubscription, RowsSubscription, Subscription } from "../subscription.js"
import type { Data } from "../schema.js"

/** What a list shows without the own writes, the versions of its rows, and what these include. */
export interface KeptRows {
  rows: readonly Data[]
  versions: readonly number[]
  included?: Record<string, WireIncluded>
}

type RowsMessage = Extract<ServerMessage, { type: "rows" }>

/** A live query, or a live aggregate. */
export type List = RowsSubscription | GroupsSubscription

export const keepable = (subscription: Subscription): subscription is List =>
  subscription.target.kind === "rows" || subscription.target.kind === "aggregate"

/** The name under which a list is kept: the same for queries that mean the same. */
export const nameOf = ({ target }: List): string => keyOf(target)

/** What the server has told last: another array after each of its messages; `null` before the first. */
export function contentOf(list: List): readonly Data[] | null {
  return "groups" in list ? list.groups : list.known ? list.rows : null
}

/** Whether the server has told something that the list does not show yet, as its code is still being loaded. */
export const isLoading = (list: List): boolean => "early" in list && !!list.early?.length

/** The relations that a list includes. */
export function relationsOf(list: List): string[] {
  const { include = {} } = ("query" in list.target && (list.target.query as Query)) || {}
  return Object.keys(include).filter((each) => include[each])
}

export function writeRows(subscription: List): string {
  if ("groups" in subscription) return JSON.stringify({ rows: subscription.groups ?? [], versions: [] } satisfies KeptRows)
  const { rows, versions, included } = subscription
  return JSON.stringify({
    rows,
    versions: rows.map(({ id }) => versions.get(id as string) ?? 0),
    ...(included && { included: included.told() }),
  } satisfies KeptRows)
}

/** Kept rows as the message that brings them; `null` if the text is not what `writeRows` makes of a list with these relations. */
export function readRows(text: unknown, sub: number, relations: readonly string[] = []): RowsMessage | null {
  try {
    const { rows, versions, included = {} } = JSON.parse(text as string) as Partial<KeptRows>
    const isWhole = areRows(rows, versions) && relations.every((each) => Object.hasOwn(included, each)) && Object.values(included).every(isIncluded)
    return isWhole ? { type: "rows", sub, rows: rows as Data[], versions: versions as number[], ...(relations.length && { included }) } : null
  } catch {
    return null
  }
}

const isRow = (row: unknown): boolean => typeof row === "object" && row !== null && typeof (row as Data)["id"] === "string"

const areRows = (rows: unknown, versions: unknown): boolean =>
  Array.isArray(rows) && Array.isArray(versions) && rows.every(isRow) && versions.every(Number.isSafeInteger)

function isIncluded({ collection, by, member, rows = {}, versions = {} }: WireIncluded): boolean {
  return [collection, by, member].every((each) => typeof each === "string") && Object.entries(rows).every(([key, list]) => areRows(list, versions[key]))
}
