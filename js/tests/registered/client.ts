/** What TypeScript says of the client where `schema.ts` registers the collections. This is checked, and never run. */
import { LumenizeClient, type Data, type Entity, type EntityEvent } from "@lumenize/client"
import { aggregateStore, pagesStore, queryStore } from "@lumenize/client/stores"

import { same } from "../types/expect"
import type { Comments, Schema, Tasks, Users } from "./schema"

const client = new LumenizeClient()
const task: Tasks = { title: "Write", status: "open", done: false, tags: [], owner: { name: "Ada" } }

export async function names(): Promise<void> {
  same<typeof client.tasks, ReturnType<typeof client.collection<never, "tasks">>>(true)
  await client.collection("order-items").create({ total: 5 })
  await client.collection<Data>("anything").create({ goes: 1 })
  await client.collection<{ n: number }>("numbers").create({ n: 1 })
  // @ts-expect-error there is no such collection
  void client.task
  // @ts-expect-error there is no such collection
  client.collection("task")
  // @ts-expect-error it is not known which collection this is
  client.collection("tasks" as string)
  client.isPending("tasks", "t1")
  // @ts-expect-error there is no such collection
  client.isPending("task", "t1")
  const other = new LumenizeClient<{ notes: { text: string } }>()
  void other.notes.create({ text: "" })
  // @ts-expect-error this is a collection of the other server
  void client.notes
}

export async function writes(): Promise<void> {
  same<Awaited<ReturnType<typeof client.tasks.create>>, Entity<Tasks>>(true)
  await client.tasks.create({ ...task, id: "t1" })
  // @ts-expect-error fields are missing
  await client.tasks.create({ title: "Write" })
  // @ts-expect-error there is no such field
  await client.tasks.create({ ...task, heading: "Write" })
  // @ts-expect-error a title is a string
  await client.tasks.create({ ...task, title: 1 })
  await client.tasks.update("t1", { done: true }, { unset: ["rank"] })
  // @ts-expect-error there is no such field
  await client.tasks.update("t1", { heading: "Write" })
  // @ts-expect-error there is no such status
  await client.tasks.update("t1", { status: "closed" })
  // @ts-expect-error a task has a title
  await client.tasks.update("t1", {}, { unset: ["title"] })
  await client.tasks.updateMany([{ id: "t1", changes: { done: true }, unset: ["due"] }])
  // @ts-expect-error there is no such field
  await client.tasks.updateMany([{ id: "t1", changes: { heading: "" } }])
  await client.transaction().create("tasks", task).update("order-items", "o1", { total: 6 }).delete("tasks", "t2").commit()
  // @ts-expect-error there is no such field
  client.transaction().update("order-items", "o1", { title: "" })
  // @ts-expect-error there is no such collection
  client.transaction().delete("orders", "o1")
  client.transaction().update<Data>("anything", "a", { goes: 1 })
}

export async function reads(): Promise<void> {
  const rows = await client.tasks.findMany({ where: { status: "open", done: false }, orderBy: [{ rank: "desc" }, { "owner.name": "asc" }] })
  same<(typeof rows)[number], Entity<Tasks>>(true)
  const some = await client.tasks.findMany({}, { fields: ["title", "owner"] })
  same<(typeof some)[number], Pick<Entity<Tasks>, "id" | "title" | "owner">>(true)
  // @ts-expect-error this field was not asked for
  void some[0]?.status
  // @ts-expect-error there is no such field
  await client.tasks.findMany({}, { fields: ["heading"] })
  client.tasks.subscribe({}, (rows) => same<(typeof rows)[number], Readonly<Pick<Entity<Tasks>, "id" | "rank">>>(true), { fields: ["rank"] })
  client.tasks.subscribe("*", (event) => same<typeof event, Readonly<EntityEvent<Tasks>>>(true))
  client
    .createSubscriptionBatch()
    .add("tasks", { where: { done: true } }, (rows) => same<(typeof rows)[number], Readonly<Entity<Tasks>>>(true))
    .add("order-items", "*", (event) => same<typeof event.data.total, number>(true))
  queryStore(client, "tasks", { where: { done: true } }, { fields: ["title"] }).getSnapshot().data[0]?.title
  // @ts-expect-error there is no such field
  queryStore(client, "tasks", { where: { heading: "" } })
}

export async function conditions(): Promise<void> {
  await client.tasks.count({
    where: {
      AND: [{ status: { in: ["open"] } }, { NOT: { status: "done" } }],
      OR: { rank: { gte: 1, not: { gt: 5 } } },
      title: { contains: "x", startsWith: "y", not: null },
      due: { lt: new Date(), isNull: false },
      tags: { contains: "urgent" },
      owner: { name: "Ada", city: { code: { in: [1, null] } } },
      "owner.city.code": { lte: 9 },
      counts: { opened: { gt: 2 } },
      "counts.opened": 3,
      anything: { inside: { in: [1, "two"] } },
      "anything.at.all": true,
      createdAt: { gte: "2026-01-01" },
    },
  })
  // @ts-expect-error there is no such field
  await client.tasks.count({ where: { heading: "x" } })
  // @ts-expect-error there is no such field
  await client.tasks.count({ where: { AND: [{ done: true }, { heading: "x" }] } })
  // @ts-expect-error an owner has no such member
  await client.tasks.count({ where: { owner: { nick: "x" } } })
  // @ts-expect-error an owner has no such member
  await client.tasks.count({ where: { "owner.nick": "x" } })
  // @ts-expect-error a city's code is a number
  await client.tasks.count({ where: { "owner.city.code": "x" } })
  // @ts-expect-error there is no such status
  await client.tasks.count({ where: { status: "closed" } })
  // @ts-expect-error there is no such status
  await client.tasks.count({ where: { status: { notIn: ["closed"] } } })
  // @ts-expect-error a rank is a number
  await client.tasks.count({ where: { rank: { gte: "1" } } })
  // @ts-expect-error a number has no beginning
  await client.tasks.count({ where: { rank: { startsWith: "1" } } })
  // @ts-expect-error booleans have no order
  await client.tasks.count({ where: { done: { gt: false } } })
  // @ts-expect-error an array equals nothing
  await client.tasks.count({ where: { tags: "urgent" } })
  // @ts-expect-error an element is a string
  await client.tasks.count({ where: { tags: { contains: 1 } } })
  // @ts-expect-error there is no such operator
  await client.tasks.count({ where: { title: { like: "x" } } })
  // @ts-expect-error there is no such direction
  await client.tasks.findMany({ orderBy: { title: "up" } })
  // @ts-expect-error there is no such field
  await client.tasks.findMany({ orderBy: [{ title: "asc" }, { heading: "asc" }] })
  // @ts-expect-error there is no such member of a query
  await client.tasks.findMany({ were: {} })
}

export async function included(): Promise<void> {
  const [task] = await client.tasks.findMany({
    where: { done: false },
    include: { assignee: { fields: ["name"] }, comments: { where: { at: { gt: 1 } }, orderBy: { at: "desc" }, limit: 3 }, files: false },
  })
  if (task === undefined) return
  same<typeof task.title, string>(true)
  same<typeof task.$included, { readonly assignee: Pick<Entity<Users>, "id" | "name"> | null; readonly comments: readonly Entity<Comments>[] }>(true)
  // @ts-expect-error the age was not asked for
  void task.$included.assignee?.age
  // @ts-expect-error files were not asked for
  void task.$included.files
  const [some] = await client.tasks.findMany({ include: { files: true, comments: task.done } }, { fields: ["title"] })
  same<typeof some, (Pick<Entity<Tasks>, "id" | "title"> & { readonly $included: { readonly files: readonly Entity[]; readonly comments: readonly Entity<Comments>[] | undefined } }) | undefined>(true)
  client.tasks.subscribe({ include: { assignee: true }, condition: () => true }, ([row]) => row?.$included.assignee?.name)
  client.users.subscribe({ include: { tasks: { fields: ["title"] } } }, ([user]) => user?.$included.tasks[0]?.title)
  client.createSubscriptionBatch().add("tasks", { include: { comments: true } }, ([row]) => row?.$included.comments[0]?.text)
  queryStore(client, "tasks", { include: { comments: true } }).getSnapshot().data[0]?.$included.comments[0]?.text
  pagesStore(client, "tasks", { include: { assignee: true } }).getSnapshot().data[0]?.$included.assignee?.name
  await client.collection("order-items").findMany({ include: { whatever: true } }) // nothing is declared of it
  // @ts-expect-error there is no such relation
  await client.tasks.findMany({ include: { owner: true } })
  // @ts-expect-error there is no such relation, beside one that there is
  await client.tasks.findMany({ include: { assignee: true, owner: true } })
  // @ts-expect-error a user has no such field
  await client.tasks.findMany({ include: { assignee: { fields: ["nick"] } } })
  // @ts-expect-error a comment has no such field
  await client.tasks.findMany({ include: { comments: { where: { heading: "x" } } } })
  // @ts-expect-error a comment has no such field, beside one that it has
  await client.tasks.findMany({ include: { comments: { where: { text: "x", heading: "x" } } } })
  // @ts-expect-error a text is a string
  await client.tasks.findMany({ include: { comments: { where: { text: 1 } } } })
  // @ts-expect-error a comment has no such field
  await client.tasks.findMany({ include: { comments: { orderBy: { heading: "asc" } } } })
  // @ts-expect-error there is at most one assignee
  await client.tasks.findMany({ include: { assignee: { limit: 1 } } })
  // @ts-expect-error what is included includes nothing
  await client.tasks.findMany({ include: { comments: { include: {} } } })
  // @ts-expect-error nothing was included
  client.tasks.subscribe({}, ([row]) => row?.$included)
  // @ts-expect-error there is no such relation
  client.tasks.subscribe({ include: { owner: true } }, () => {})
  // @ts-expect-error there is no such relation
  client.createSubscriptionBatch().add("tasks", { include: { owner: true } }, () => {})
  // @ts-expect-error there is no such relation
  queryStore(client, "tasks", { include: { owner: true } })
  // @ts-expect-error a user has no such field
  pagesStore(client, "tasks", { include: { assignee: { fields: ["nick"] } } })
}

export async function aggregates(): Promise<void> {
  const [group] = await client.tasks.aggregate({
    where: { done: false },
    groupBy: ["status", "owner.city.code"],
    sum: "rank",
    avg: ["rank", "owner.city.code"],
    max: ["due", "rank"],
  })
  if (group === undefined) return
  same<typeof group.group, { status: "open" | "done"; "owner.city.code": number | null }>(true)
  same<typeof group.sum, { rank: number }>(true)
  same<typeof group.avg, { rank: number | null; "owner.city.code": number | null }>(true)
  same<typeof group.max, { due: string | null; rank: number | null }>(true)
  // @ts-expect-error no smallest values were asked for
  void group.min
  await client.collection("order-items").aggregate({ sum: "total" })
  client.tasks.subscribeAggregate({ groupBy: "status", sum: "rank" }, ([all]) => same<typeof all, undefined>(false))
  // @ts-expect-error a title cannot be added up
  await client.tasks.aggregate({ sum: "title" })
  // @ts-expect-error a status cannot be added up
  await client.tasks.aggregate({ groupBy: "status", avg: ["rank", "status"] })
  // @ts-expect-error booleans have no order
  await client.tasks.aggregate({ min: "done" })
  // @ts-expect-error there is no such field
  await client.tasks.aggregate({ groupBy: "heading" })
  // @ts-expect-error there is no such field
  await client.tasks.aggregate({ where: { heading: "x" } })
  // @ts-expect-error there is no such member of an aggregate
  await client.tasks.aggregate({ summ: "rank" })
  // @ts-expect-error there is no such field
  client.tasks.subscribeAggregate({ where: { OR: [{ heading: "x" }] } }, () => {})
  // @ts-expect-error there is no such field
  aggregateStore(client, "tasks", { groupBy: "heading" })
}

/** Rows can be named in an application's own functions. */
export const titles = (rows: readonly Readonly<Entity<Schema["tasks"]>>[]): string[] => rows.map(({ title }) => title)
