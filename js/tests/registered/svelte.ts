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

  const detailed = get(lumenizeSubscription("tasks", { where: { status }, include: { assignee: true, comments: { limit: 3, fields: ["text"] } } })).data
  const names = detailed.map(({ $included }) => [$included.assignee?.name, $included.comments[0]?.text])
  same<typeof names, (string | undefined)[][]>(true)
  get(lumenizeSubscription("tasks", writable({ include: { comments: true as const } }))).data[0]?.$included.comments[0]?.text
  // @ts-expect-error the time was not asked for
  void detailed[0]?.$included.comments[0]?.at
  // @ts-expect-error there is no such relation
  lumenizeSubscription("tasks", { include: { owner: true } })
  // @ts-expect-error there is no such relation, also in a store
  lumenizeSubscription("tasks", writable({ include: { assignee: true, owner: true } }))
  // @ts-expect-error a user has no such field
  lumenizeSubscription("tasks", { include: { assignee: { fields: ["nick"] } } })
  // @ts-expect-error a comment has no such field
  lumenizePages("tasks", { include: { comments: { orderBy: { heading: "asc" } } } })
  get(lumenizePages("tasks", { include: { comments: true } })).data[0]?.$included.comments[0]?.text

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
