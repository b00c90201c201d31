/** What TypeScript says of the stores where `schema.ts` registers the collections. This is checked, and never run. */
import type { Data, Entity } from "@lumenize/client"
import { lumenizeAggregate, lumenizePages, lumenizeSubscription, onEntityEvent, useClient } from "@lumenize/svelte"
import { get, writable } from "svelte/store"

import { same } from "../types/expect"
import type { Tasks } from "./schema"

export function board(status: "open" | "done"): void {
  void useClient().tasks.update("t1", { done: true })
  // @ts-expect-error there is no such field
  void useClient().tasks.update("t1", { heading: "" })
  const { data } = get(lumenizeSubscription("tasks", { where: { status } }))
  same<typeof data, readonly Readonly<Entity<Tasks>>[]>(true)
  const some = get(lumenizeSubscription("tasks", writable({ where: { status } }), { fields: ["title"] })).data
  same<typeof some, readonly Readonly<Pick<Entity<Tasks>, "id" | "title">>[]>(true)
  lumenizeSubscription("tasks", writable(status === "open" ? { where: { status } } : null))
  lumenizeSubscription<Data>("anything", writable({ where: { goes: 1 } }))
  // @ts-expect-error there is no such collection
  lumenizeSubscription("task", writable(null))
  // @ts-expect-error there is no such field
  lumenizeSubscription("tasks", { where: { heading: "x" } })
  // @ts-expect-error there is no such field, also in a store
  lumenizeSubscription("tasks", writable({ where: { status, heading: "x" } }))
  // @ts-expect-error there is no such field, also in a store
  lumenizeSubscription("tasks", writable({ where: { AND: [{ status }, { heading: "x" }] } }))
  // @ts-expect-error there is no such status
  lumenizeSubscription("tasks", writable({ where: { status: "closed" } }))
  // @ts-expect-error there is no such field
  lumenizeSubscription("tasks", {}, { fields: ["heading"] })

  const pages = get(lumenizePages("tasks", writable({ orderBy: { rank: "asc" as const } }), { fields: ["rank"] }))
  same<typeof pages.data, readonly Readonly<Pick<Entity<Tasks>, "id" | "rank">>[]>(true)
  // @ts-expect-error there is no such field
  lumenizePages("tasks", writable({ orderBy: { rank: "asc" as const, heading: "asc" as const } }))

  const groups = get(lumenizeAggregate("tasks", { groupBy: "status", sum: "rank" })).data
  same<(typeof groups)[number]["sum"], { rank: number }>(true)
  // @ts-expect-error a title cannot be added up
  lumenizeAggregate("tasks", { sum: "title" })
  // @ts-expect-error there is no such field
  lumenizeAggregate("tasks", { where: { heading: "x" } })

  onEntityEvent("tasks", "*", (event) => same<typeof event.data, Entity<Tasks>>(true))
  // @ts-expect-error there is no such collection
  onEntityEvent("task", "*", () => {})
}
