import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type { CustomEvent } from "../src/index.js"
import type { Data } from "../src/schema.js"
import type { Conflict, EntityEvent, Person } from "../src/types.js"
import { codes, fresh, log, until, World } from "./world.js"

let world: World
beforeAll(async () => {
  world = await World.start({
    collections: { notes: { fields: { type: "object", properties: { text: { type: "string" } }, required: ["text"] } } },
  })
})
afterAll(() => world.end())

describe.each([false, true])("binaryProtocol: %s", (binaryProtocol) => {
  const connected = (userId?: string) =>
    world.connected({ websocket: { binaryProtocol }, ...(userId !== undefined && { userId }) })

  it("makes several writes in one request, each on its own", async () => {
    const tasks = (await connected()).collection(fresh())
    const kinds = (outcomes: PromiseSettledResult<Data>[]): unknown[] =>
      outcomes.map((one) => (one.status === "fulfilled" ? one.value["n"] : (one.reason as { code: string }).code))
    expect(kinds(await tasks.createMany([{ id: "a", n: 1 }, { id: "b", n: 2, at: new Date(0) }]))).toEqual([1, 2])
    expect(kinds(await tasks.createMany([{ id: "c", n: 3 }, { id: "a" }]))).toEqual([3, "CONFLICT"])
    expect(kinds(await tasks.updateMany([{ id: "a", changes: { n: 4 }, unset: ["x"] }, { id: "none" }]))).toEqual([4, "NOT_FOUND"])
    expect(kinds(await tasks.deleteMany(["a", "none"]))).toEqual([4, "NOT_FOUND"])
    expect((await tasks.findMany()).map(({ id }) => id)).toEqual(["b", "c"])
  })

  it("makes all writes of a transaction, or none", async () => {
    const client = await connected()
    const [tasks, drafts] = [fresh(), fresh()]
    const made = await client.transaction().create(tasks, { id: "a", n: 1 }).create(drafts, { id: "d" }).commit()
    expect(made).toMatchObject([{ id: "a", n: 1 }, { id: "d" }])
    const next = () => client.transaction().update(tasks, "a", { n: 2 }).delete(drafts, "d").create(tasks, { id: "b" })
    await expect(next().create(tasks, { id: "c" }).update(tasks, "none", {}).commit()).rejects.toMatchObject({ code: "NOT_FOUND", details: { write: 4 } })
    expect(await client.collection(tasks).findById("a")).toMatchObject({ n: 1 })
    expect(await next().commit()).toMatchObject([{ n: 2 }, { id: "d" }, { id: "b" }])
    expect(await client.collection(drafts).count()).toBe(0)
  })

  it("creates, reads, updates, deletes and restores", async () => {
    const tasks = (await connected()).collection(fresh())
    const task = await tasks.create({ title: "x", at: new Date(0), rank: 1.5, tags: ["a", null] })
    expect(task).toMatchObject({ title: "x", at: "1970-01-01T00:00:00.000Z", rank: 1.5, tags: ["a", null] })
    expect(await tasks.findById(task.id)).toEqual(task)
    await tasks.update(task.id, { title: "y" }, { unset: ["rank"] })
    const now = await tasks.findById(task.id, { includePermissions: true })
    expect(now).toMatchObject({ title: "y", permissions: { read: true, write: true } })
    expect(now).not.toHaveProperty("rank")
    expect(await tasks.findById(task.id, { version: 1 })).toMatchObject({ title: "x" })
    await tasks.delete(task.id)
    await expect(tasks.findById(task.id)).rejects.toMatchObject({ code: "NOT_FOUND" })
    await tasks.restore(task.id)
    await tasks.restore(task.id, 1)
    expect(await tasks.findById(task.id)).toMatchObject({ title: "x", rank: 1.5 })
    const history = await tasks.history(task.id)
    expect(history.map(({ type }) => type)).toEqual(["updated", "restored", "deleted", "updated", "created"])
  })

  it("finds rows, pages of them, and counts", async () => {
    const tasks = (await connected()).collection(fresh())
    for (const rank of [3, 1, 2]) await tasks.create({ id: `t${rank}`, rank })
    const query = { where: { rank: { gte: 1 } }, orderBy: { rank: "asc" } } as const
    const page = await tasks.findMany({ ...query, limit: 2 }, { fields: ["rank"] })
    expect([...page]).toEqual([{ id: "t1", rank: 1 }, { id: "t2", rank: 2 }])
    const rest = await tasks.findMany({ ...query, limit: 2, after: page.next as string })
    expect(rest.map(({ id }) => id)).toEqual(["t3"])
    expect(await tasks.count({ where: { rank: { lt: 3 } } })).toBe(2)
    expect(await tasks.count({ where: { createdAt: { gte: new Date(Date.now() - 60_000) } } })).toBe(3)
  })

  it("tells events of a collection and of one entity, with changes", async () => {
    const client = await connected()
    const tasks = client.collection(fresh())
    const [all, one, status] = [log<EntityEvent>(), log<EntityEvent>(), log<EntityEvent>()]
    const end = tasks.subscribe("*", all.add)
    tasks.subscribe("a", one.add)
    tasks.subscribe("a", status.add, { fields: ["status"], includePermissions: true })
    await tasks.create({ id: "a", status: "open", title: "x" })
    await tasks.create({ id: "b" })
    await tasks.update("a", { title: "y" })
    await tasks.update("a", { status: "done" })
    await tasks.delete("a")
    await tasks.restore("a")
    await until(() => all.last?.type === "restored")
    expect(all.map(({ id, type }) => `${type} ${id}`)).toEqual([
      "created a", "created b", "updated a", "updated a", "deleted a", "restored a",
    ])
    expect(one).toHaveLength(5)
    expect(one[1]?.changes).toEqual({ title: { from: "x", to: "y" } })
    expect(status.map(({ type }) => type)).toEqual(["created", "updated", "deleted", "restored"])
    expect(status[1]).toMatchObject({ data: { id: "a", status: "done" }, permissions: { read: true, write: true } })
    expect(status[1]?.data).not.toHaveProperty("title")
    end()
    await tasks.update("a", { title: "z" })
    await until(() => one.length === 6)
    expect(all).toHaveLength(6)
  })

  it("keeps the rows of live queries as they are, for all who look", async () => {
    const name = fresh()
    const [ada, bob] = [await connected(), await connected()]
    const query = { where: { done: false }, orderBy: { rank: "desc" }, limit: 2 } as const
    const [hers, his] = [log<Data[]>(), log<Data[]>()]
    ada.collection(name).subscribe(query, hers.add)
    bob.collection(name).subscribe(query, his.add)
    await until(() => hers.last && his.last)
    const tasks = ada.collection(name)
    for (const rank of [1, 2, 3]) await tasks.create({ id: `t${rank}`, rank, done: false })
    await tasks.update("t3", { done: true })
    await bob.collection(name).update("t1", { rank: 9 })
    for (const rows of [hers, his]) await until(() => rows.last?.map((row) => row["id"] as string).join() === "t1,t2")
    const confirmed = await tasks.findMany(query)
    expect(hers.last).toEqual([...confirmed])
  })

  it("shows an own write before it is confirmed, and neither less nor twice after it", async () => {
    const client = await connected()
    const messages = client.collection(fresh())
    const shown = log<Data[]>()
    messages.subscribe({ where: { chat: "c" }, orderBy: { createdAt: "desc" }, limit: 50 }, shown.add)
    await until(() => shown.last)
    for (const text of ["a", "b", "c"]) {
      const created = messages.create({ chat: "c", text })
      expect((shown.last as Data[])[0]).toMatchObject({ text })
      await created
    }
    await until(() => shown.last?.length === 3)
    const lengths = shown.map((rows) => rows.length)
    expect(lengths).toEqual([...lengths].sort((a, b) => a - b))
    expect(shown.last?.map((row) => row["text"] as string)).toEqual(["c", "b", "a"])
  })

  it("tells what a write met that it had not seen, or makes an error of it", async () => {
    const name = fresh()
    const [ada, bob] = [await connected("ada"), await connected("bob")]
    const met = log<readonly Conflict[]>()
    ada.onConflict(met.add)
    await ada.collection(name).create({ id: "t", title: "x" })
    await bob.collection(name).update("t", { title: "bob's" })
    await ada.collection(name).update("t", { title: "ada's" })
    expect(met).toMatchObject([[{ field: "title", theirs: "bob's", yours: "ada's", winner: "yours", userId: "bob" }]])
    await expect(bob.collection(name).update("t", { title: "no, mine" }, { onConflict: "reject" })).rejects.toMatchObject({
      code: "CONFLICT",
      details: { data: { title: "ada's" } },
    })
    expect(await bob.collection(name).findById("t")).toMatchObject({ title: "ada's" })
    await bob.collection(name).update("t", { title: "no, mine" }, { onConflict: "reject" })
  })

  it("makes no conflict of own writes that follow each other", async () => {
    const client = await connected()
    const tasks = client.collection(fresh())
    const met = log<readonly Conflict[]>()
    client.onConflict(met.add)
    void tasks.create({ id: "t", n: 0 })
    await Promise.all([1, 2, 3, 4].map((n) => tasks.update("t", { n }, { onConflict: "reject" })))
    expect(await tasks.findById("t")).toMatchObject({ n: 4 })
    expect(met).toEqual([])
  })

  it("tells a subscription of what is said right behind it", async () => {
    const client = await connected()
    const name = fresh()
    const [events, custom] = [log<EntityEvent>(), log<CustomEvent>()]
    const end = client.collection(name).subscribe("*", events.add)
    client.events.subscribe(name, custom.add)
    void client.collection(name).create({ id: "a" })
    void client.events.emit({ type: name })
    await until(() => events.length === 1 && custom.length === 1)
    await end.ready
  })

  it("refuses what the server would end the session for, and goes on", async () => {
    const client = await connected()
    const errors = codes(client)
    const tasks = client.collection(fresh())
    const nested = (depth: number): unknown => (depth === 0 ? 1 : [nested(depth - 1)])
    for (const data of [{ text: "😀".slice(0, 1) }, { deep: nested(31) }, { n: NaN }]) {
      await expect(tasks.create(data)).rejects.toMatchObject({ code: "INVALID_REQUEST" })
    }
    await expect(tasks.findMany({ where: { a: nested(40) } as never })).rejects.toMatchObject({ code: "INVALID_REQUEST" })
    await tasks.create({ id: "t", deep: nested(29), text: "😀" })
    expect(await tasks.findById("t")).toMatchObject({ text: "😀" })
    expect([client.isConnected(), errors]).toEqual([true, []])
  })

  it("holds data to the schema of its collection, and can read that", async () => {
    const client = await connected()
    await expect(client.collection<Data>("notes").create({ text: 1 })).rejects.toMatchObject({ code: "VALIDATION_FAILED" })
    expect(await client.refreshSchema()).toHaveProperty("notes.schema")
    expect(client.schema).toHaveProperty("notes")
  })

  it("carries custom events, also through channels", async () => {
    const [ada, bob] = [await connected("ada"), await connected("bob")]
    const type = fresh()
    const [hers, his] = [log<CustomEvent>(), log<CustomEvent>()]
    await ada.events.join("team")
    ada.events.subscribe(type, hers.add)
    bob.events.subscribe(type, his.add)
    await bob.tasks.count()
    await ada.tasks.count()
    await bob.events.emit({ type, n: 1 })
    await bob.events.emit({ type, n: 2, channels: ["team"] })
    await ada.events.emit({ type, n: 3, channels: ["user:bob"] })
    await until(() => hers.length === 2 && his.length === 2)
    expect(hers).toMatchObject([{ type, n: 1 }, { n: 2 }])
    expect(his).toMatchObject([{ n: 1 }, { n: 3 }])
  })

  it("tells numbers and the health of the server", async () => {
    const client = await connected("carl")
    const [users, health] = [log<number>(), log<Data>()]
    client.analytics.subscribe("active_users", users.add)
    client.system.subscribe("health", health.add)
    await until(() => users.last && health.last)
    expect(users.last).toBeGreaterThan(0)
    expect(health.last).toMatchObject({ type: "health", state: "ok" })
  })

  it("shows who is in a room", async () => {
    const room = fresh()
    const [ada, bob] = [await connected("ada"), await connected("bob")]
    const people = log<Person[]>()
    ada.presence.subscribe(room, people.add)
    await until(() => people.last)
    await bob.presence.join(room, { cursor: { line: 10, column: 5 } })
    await until(() => people.last?.some(({ cursor }) => (cursor as Data | undefined)?.["line"] === 10))
    await bob.presence.update(room, { typing: true })
    await until(() => people.last?.some(({ cursor, typing }) => cursor !== undefined && typing === true))
    await bob.presence.leave(room)
    await until(() => people.last?.length === 0)
  })

  it("makes a batch, or refuses it as a whole", async () => {
    const client = await connected()
    const name = fresh()
    const errors = codes(client)
    const [rows, events] = [log<Data[]>(), log<EntityEvent>()]
    const batch = client.createSubscriptionBatch()
    batch.add(name, { where: { a: 1 } }, rows.add)
    batch.add(name, "*", events.add)
    const end = await batch.execute()
    await client.collection(name).create({ a: 1 })
    await until(() => rows.last?.length === 1 && events.length === 1)
    end()
    batch.add(name, { where: { a: {} } } as never, rows.add)
    await expect(batch.execute()).rejects.toMatchObject({ code: "INVALID_REQUEST" })
    expect(errors).toEqual(["SUBSCRIPTION_FAILED"])
  })

  it("lowers its limits, and comes back to a subscription when there is room", async () => {
    const client = await world.connected({ websocket: { binaryProtocol, subscriptionRateLimit: { maxSubscriptions: 1 } } })
    const name = fresh()
    const errors = codes(client)
    const end = client.collection(name).subscribe("*", () => {})
    const rows = log<Data[]>()
    client.collection(name).subscribe({}, rows.add)
    await until(() => errors.length === 1)
    expect(errors).toEqual(["RATE_LIMIT_EXCEEDED"])
    end()
    await until(() => rows.last)
  })
})
