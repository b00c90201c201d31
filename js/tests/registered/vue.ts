/** What TypeScript says of the composables where `schema.ts` registers the collections. This is checked, and never run. */
import type { Data, Entity } from "@lumenize/client"
import { useEntityEvent, useLumenizeAggregate, useLumenizeClient, useLumenizePages, useLumenizeSubscription } from "@lumenize/vue"
import { computed, type Ref } from "vue"

import { same } from "../types/expect"
import type { Tasks } from "./schema"

export function board(status: Ref<"open" | "done">): void {
  void useLumenizeClient().tasks.update("t1", { done: true })
  // @ts-expect-error there is no such field
  void useLumenizeClient().tasks.update("t1", { heading: "" })
  const { data } = useLumenizeSubscription("tasks", () => ({ where: { status: status.value } }))
  same<typeof data.value, readonly Readonly<Entity<Tasks>>[]>(true)
  const some = useLumenizeSubscription(() => "tasks", () => ({ where: { status: "open" } }), { fields: ["title"] }).data
  same<typeof some.value, readonly Readonly<Pick<Entity<Tasks>, "id" | "title">>[]>(true)
  useLumenizeSubscription("tasks", computed(() => ({ where: { status: status.value } })))
  useLumenizeSubscription<Data>("anything", () => ({ where: { goes: 1 } }))
  // @ts-expect-error there is no such collection
  useLumenizeSubscription("task")
  // @ts-expect-error there is no such collection
  useLumenizeSubscription(() => "task")
  // @ts-expect-error there is no such field
  useLumenizeSubscription("tasks", { where: { heading: "x" } })
  // @ts-expect-error there is no such field, also in a getter
  useLumenizeSubscription("tasks", () => ({ where: { status: status.value, heading: "x" } }))
  // @ts-expect-error there is no such field, also in a computed query
  useLumenizeSubscription("tasks", computed(() => ({ where: { OR: [{ heading: "x" }] } })))
  // @ts-expect-error there is no such status
  useLumenizeSubscription("tasks", () => ({ where: { status: "closed" } }))
  // @ts-expect-error there is no such field
  useLumenizeSubscription("tasks", {}, { fields: ["heading"] })

  const detailed = useLumenizeSubscription("tasks", () => ({ where: { status: status.value }, include: { assignee: true, comments: { limit: 3, fields: ["text"] } } })).data
  const names = detailed.value.map(({ $included }) => [$included.assignee?.name, $included.comments[0]?.text])
  same<typeof names, (string | undefined)[][]>(true)
  // @ts-expect-error the time was not asked for
  void detailed.value[0]?.$included.comments[0]?.at
  // @ts-expect-error there is no such relation
  useLumenizeSubscription("tasks", { include: { owner: true } })
  // @ts-expect-error there is no such relation, also in a getter
  useLumenizeSubscription("tasks", () => ({ include: { assignee: true, owner: true } }))
  // @ts-expect-error a user has no such field
  useLumenizeSubscription("tasks", () => ({ include: { assignee: { fields: ["nick"] } } }))
  // @ts-expect-error a comment has no such field
  useLumenizePages("tasks", () => ({ include: { comments: { orderBy: { heading: "asc" } } } }))
  useLumenizePages("tasks", () => ({ include: { comments: true } })).data.value[0]?.$included.comments[0]?.text

  const pages = useLumenizePages("tasks", () => ({ orderBy: { rank: "asc" } }), { fields: ["rank"] })
  same<typeof pages.data.value, readonly Readonly<Pick<Entity<Tasks>, "id" | "rank">>[]>(true)
  // @ts-expect-error there is no such field
  useLumenizePages("tasks", () => ({ orderBy: { rank: "asc", heading: "asc" } }))
  // @ts-expect-error pages have no limit of their own
  useLumenizePages("tasks", () => ({ orderBy: { rank: "asc" }, limit: 5 }))

  const groups = useLumenizeAggregate("tasks", () => ({ groupBy: "status", sum: "rank" })).data
  same<(typeof groups.value)[number]["sum"], { rank: number }>(true)
  // @ts-expect-error a title cannot be added up
  useLumenizeAggregate("tasks", () => ({ sum: "title" }))
  // @ts-expect-error there is no such field
  useLumenizeAggregate("tasks", () => ({ where: { heading: "x" } }))

  useEntityEvent("tasks", "*", (event) => same<typeof event.data, Entity<Tasks>>(true))
  // @ts-expect-error there is no such collection
  useEntityEvent("task", "*", () => {})
}
