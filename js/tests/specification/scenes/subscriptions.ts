import type { Data } from "@lumenize/client"

import { holds, ids, same, spy, until } from "../expect"
import { clear, inForce, put, witness, type Stage } from "../stage"
import type { Scene } from "./index"

export async function entities(stage: Stage): Promise<Scene> {
  const [client, other] = [await stage.client(), await stage.other()]
  const log = spy()
  /** What kind of event each line tells. */
  const kinds = (): (string | undefined)[] => log.calls.map(([line]) => kindOf(line as string))
  await put(other, "tasks", "task_123", { title: "first" })
  return {
    given: { client, console: { log } },
    checks: [
      async ({ unsubscribe }) => {
        same(typeof unsubscribe, "function")
        await inForce(client)
        const { id } = await other.tasks.create({ title: "new" })
        await other.tasks.update(id, { title: "newer" })
        await other.tasks.delete(id)
        await until(() => log.calls.length === 3, kinds)
        same(kinds(), ["created", "updated", "deleted"])
        same(log.calls.map(([line, data]) => [(line as string).includes(id), (data as Data)["id"]]), [1, 2, 3].map(() => [true, id]))
        same((log.calls[1]?.[1] as Data)["title"], "newer")
      },
      async () => {
        await inForce(client)
        log.calls.length = 0
        const { id } = await other.tasks.create({ title: "of no concern to it" })
        await other.tasks.update("task_123", { title: "second" })
        await other.tasks.delete("task_123")
        await until(() => log.calls.length === 5, kinds)
        // those of the first subscription name the task
        const own = log.calls.filter(([line]) => ![id, "task_123"].some((name) => (line as string).includes(name)))
        same(own.map(([line, what]) => [kindOf(line as string), (what as Data)["title"] ?? what]), [
          ["updated", "second"],
          ["deleted", "task_123"],
        ])
      },
      async () => {
        log.calls.length = 0
        await other.tasks.restore("task_123")
        await other.tasks.update("task_123", { title: "third" })
        await until(() => log.calls.length > 0)
        await witness(client, other, "tasks")
        same(kinds(), ["updated"])
      },
    ],
  }
}

function kindOf(line: string): string | undefined {
  return ["created", "updated", "deleted", "restored"].find((kind) => line.includes(kind))
}

export async function queries(stage: Stage): Promise<Scene> {
  const [client, other] = [await stage.client(), await stage.other()]
  const [log, updateTaskList] = [spy(), spy()]
  await clear(other, "tasks", "orders")
  const task = async (status: string, assignedTo: string): Promise<string> => (await other.tasks.create({ status, assignedTo })).id
  return {
    given: { client, updateTaskList, console: { log } },
    checks: [
      async ({ unsubscribe }) => {
        await until(() => updateTaskList.last?.length === 0)
        const first = await task("pending", "user_123")
        await task("pending", "user_456")
        await task("done", "user_123")
        const second = await task("pending", "user_123")
        await until(() => ids(updateTaskList.last).join() === `${second},${first}`)
        same(log.calls.at(-1)?.[1], updateTaskList.last)
        await other.tasks.update(first, { status: "done" })
        await until(() => ids(updateTaskList.last).join() === second)
        const more: string[] = []
        for (let count = 0; count < 10; count++) more.unshift(await task("pending", "user_123"))
        await until(() => ids(updateTaskList.last).join() === more.join())
        await other.tasks.delete(more[0] as string)
        await until(() => ids(updateTaskList.last).join() === [...more.slice(1), second].join())
        same(typeof unsubscribe, "function")
      },
      async () => {
        const shown = (): Data[][] => log.calls.filter(([line]) => (line as string).includes("orders")).map(([, rows]) => rows as Data[])
        const rows = (): string[] => (shown().at(-1) ?? []).map(({ id }) => id as string)
        await until(() => shown().length > 0)
        await other.orders.create({ status: "pending", total: 99 })
        await other.orders.create({ status: "done", total: 500 })
        const high = await other.orders.create({ status: "processing", total: 100 })
        await until(() => rows().join() === high.id)
        const pending = await other.orders.create({ status: "pending", total: 1000.5 })
        await until(() => rows().length === 2 && rows().includes(pending.id))
        await other.orders.update(pending.id, { total: 1 })
        await until(() => rows().join() === high.id)
      },
    ],
  }
}

export async function collections(stage: Stage): Promise<Scene> {
  const [client, other] = [await stage.client(), await stage.other()]
  const [showNotification, updateProjectDashboard] = [spy(), spy()]
  await clear(other, "projects")
  return {
    given: { client, showNotification, updateProjectDashboard },
    checks: [
      async () => {
        await inForce(client)
        const { id } = await other.users.create({ name: "Ada" })
        await other.users.update(id, { name: "Ada L." })
        await witness(client, other, "users")
        await until(() => showNotification.calls.length === 2) // the witness is a user too
        holds((showNotification.calls[0]?.[0] as string).endsWith(" Ada"), "it says who it is")
      },
      async () => {
        await until(() => updateProjectDashboard.calls.length > 0)
        const { id } = await other.projects.create({ teamId: "team_456", name: "ours" })
        await other.projects.create({ teamId: "team_457" })
        await until(() => ids(updateProjectDashboard.last).join() === id)
        await other.projects.update(id, { name: "ours, as ever" })
        await until(() => updateProjectDashboard.last[0].name === "ours, as ever")
        same(ids(updateProjectDashboard.last), [id])
      },
    ],
  }
}

export async function standardEvents(stage: Stage): Promise<Scene> {
  const [client, other] = [await stage.client(), await stage.other()]
  const log = spy()
  return {
    given: { client, console: { log } },
    checks: [
      async () => {
        await inForce(client)
        const { id } = await other.tasks.create({ status: "new" })
        await other.tasks.update(id, { status: "done" })
        await other.tasks.delete(id)
        await other.tasks.restore(id)
        await until(() => log.calls.length === 5)
        const told = log.calls.map(([line, what]) => [kindOf(line as string), (what as Data)["status"] ?? what])
        same(told, [
          ["created", "new"],
          ["updated", "done"],
          [undefined, { from: "new", to: "done" }],
          ["deleted", id],
          ["restored", "done"],
        ])
      },
    ],
  }
}

export async function customEvents(stage: Stage): Promise<Scene> {
  const [client, other] = [await stage.client(), await stage.other()]
  const [showNotification, heard] = [spy(), spy()]
  other.events.subscribe("task_completed", heard)
  await inForce(other)
  return {
    given: { client, showNotification },
    checks: [
      async () => {
        // one of the channels is that of the other user
        await until(() => heard.last)
        same([heard.last.taskId, heard.last.data.completedBy, heard.last.userId], ["task_123", "user_456", "user_123"])
        holds(Date.parse(heard.last.data.completedAt) <= Date.now(), "it was completed before now")
      },
      async () => {
        await inForce(client)
        const completed = { type: "task_completed", data: { completedBy: "user_456" } }
        await other.events.emit({ ...completed, channels: ["team_789"] }) // not for us, as yet
        await other.events.emit({ ...completed, channels: ["user_123"] })
        await client.events.join("team_789")
        await other.events.emit({ ...completed, data: { completedBy: "the team" }, channels: ["team_789"] })
        await stage.post("events", { ...completed, data: { completedBy: "the server" } })
        await until(() => showNotification.last?.endsWith(" the server"))
        same(showNotification.calls.map(([line]) => (line as string).split(" by ")[1]), ["user_456", "the team", "the server"])
      },
    ],
  }
}

export async function systemEvents(stage: Stage): Promise<Scene> {
  const client = await stage.client()
  const [log, refreshPermissions] = [spy(), spy()]
  return {
    given: { client, refreshPermissions, console: { log } },
    checks: [
      async () => {
        await inForce(client)
        const version = await stage.control("redeclare", "invoices")
        await until(() => log.calls.length > 0)
        same(log.calls.map(([, name]) => name), ["invoices"])
        await until(() => client.schema?.["invoices"]?.version === version)
      },
      async () => {
        await inForce(client)
        await stage.post("permissions-changed", { resourceId: "tasks/task_123" })
        await until(() => refreshPermissions.calls.length > 0)
        same(log.calls.at(-1)?.[1], "tasks/task_123")
      },
    ],
  }
}
