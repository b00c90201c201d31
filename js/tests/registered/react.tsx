/** What TypeScript says of the hooks where `schema.ts` registers the collections. This is checked, and never run. */
import type { Data, Entity } from "@lumenize/client"
import { useEntityEvent, useLumenizeAggregate, useLumenizeClient, useLumenizePages, useLumenizeSubscription } from "@lumenize/react"

import { same } from "../types/expect"
import type { Tasks } from "./schema"

export function Board({ status }: { status: "open" | "done" }) {
  const client = useLumenizeClient()
  void client.tasks.update("t1", { done: true })
  // @ts-expect-error there is no such field
  void client.tasks.update("t1", { heading: "" })
  const { data } = useLumenizeSubscription("tasks", { where: { status }, orderBy: { createdAt: "desc" } }, { enabled: true })
  same<typeof data, readonly Readonly<Entity<Tasks>>[]>(true)
  const some = useLumenizeSubscription("tasks", {}, { fields: ["title"] }).data
  same<typeof some, readonly Readonly<Pick<Entity<Tasks>, "id" | "title">>[]>(true)
  const other = useLumenizeSubscription<Data>("anything").data
  same<typeof other, readonly Readonly<Entity>[]>(true)
  // @ts-expect-error there is no such collection
  useLumenizeSubscription("task")
  // @ts-expect-error there is no such field
  useLumenizeSubscription("tasks", { where: { heading: "x" } })
  // @ts-expect-error there is no such status
  useLumenizeSubscription("tasks", { where: { status: "closed" } })
  // @ts-expect-error there is no such field
  useLumenizeSubscription("tasks", {}, { fields: ["heading"] })
  // @ts-expect-error there is no such option
  useLumenizeSubscription("tasks", {}, { field: ["title"] })

  const detailed = useLumenizeSubscription("tasks", { where: { status }, include: { assignee: true, comments: { limit: 3, fields: ["text"] } } }).data
  const names = detailed.map(({ $included }) => [$included.assignee?.name, $included.comments[0]?.text])
  same<typeof names, (string | undefined)[][]>(true)
  // @ts-expect-error the time was not asked for
  void detailed[0]?.$included.comments[0]?.at
  // @ts-expect-error there is no such relation
  useLumenizeSubscription("tasks", { include: { assignee: true, owner: true } })
  // @ts-expect-error a user has no such field
  useLumenizeSubscription("tasks", { include: { assignee: { fields: ["nick"] } } })
  // @ts-expect-error a comment has no such field
  useLumenizePages("tasks", { include: { comments: { orderBy: { heading: "asc" } } } })
  useLumenizePages("tasks", { include: { comments: true } }).data[0]?.$included.comments[0]?.text

  const pages = useLumenizePages("tasks", { orderBy: { rank: "asc" } }, { pageSize: 20, fields: ["rank"] })
  same<typeof pages.data, readonly Readonly<Pick<Entity<Tasks>, "id" | "rank">>[]>(true)
  // @ts-expect-error there is no such field
  useLumenizePages("tasks", { orderBy: { heading: "asc" } })
  // @ts-expect-error pages have no limit of their own
  useLumenizePages("tasks", { limit: 5 })

  const groups = useLumenizeAggregate("tasks", { groupBy: "status", sum: "rank" }).data
  same<(typeof groups)[number]["sum"], { rank: number }>(true)
  // @ts-expect-error a title cannot be added up
  useLumenizeAggregate("tasks", { sum: "title" })
  // @ts-expect-error there is no such field
  useLumenizeAggregate("tasks", { where: { heading: "x" } })

  useEntityEvent("tasks", "*", (event) => same<typeof event.data, Entity<Tasks>>(true), { fields: ["title"] })
  // @ts-expect-error there is no such field
  useEntityEvent("tasks", "*", () => {}, { fields: ["heading"] })
  // @ts-expect-error there is no such collection
  useEntityEvent("task", "*", () => {})
  return (
    <ul>
      {data.map((task) => (
        <li key={task.id} title={task.owner.name}>
          {/* @ts-expect-error there is no such field */}
          {task.title} {task.heading}
        </li>
      ))}
    </ul>
  )
}
