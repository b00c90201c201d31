/** What the compiler says to those who use the client. What is wrong must not compile: `tsc` checks this file. */
import { describe, expectTypeOf, it } from "vitest"
import { LumenizeClient, type Client, type Collection, type Entity, type EntityEvent, type LumenizeError, type Query } from "../src/index.js"
import type { Subscribed } from "../src/types.js"

interface Task {
  title: string
  status: "open" | "done"
  rank?: number
  due: string
  done: boolean | null
  tags: string[]
  owner: { name: string; city: { code: number } }
}
interface Schema {
  tasks: Task
  notes: { text: string }
}

const client = new LumenizeClient<Schema>()
const untyped = new LumenizeClient()
/** Only compiled. */
const compiled = (_: () => void): void => {}

describe("a client with a schema", () => {
  it("has its collections, typed, and what each client has", () => {
    expectTypeOf(client.tasks).toEqualTypeOf<Collection<Task>>()
    expectTypeOf(client.notes).toEqualTypeOf<Collection<{ text: string }>>()
    expectTypeOf(client.collection<Task>("tasks")).toEqualTypeOf<Collection<Task>>()
    expectTypeOf(client).toExtend<Client>()
    expectTypeOf<typeof client>().not.toHaveProperty("orders")
    expectTypeOf(untyped["orders"]).toExtend<Collection | undefined>()
    compiled(() => new LumenizeClient<Schema>({ url: "http://host" }) satisfies LumenizeClient<Schema>)
    // @ts-expect-error: an option that there is not
    compiled(() => new LumenizeClient({ websocket: { reconnectIntervall: 5 } }))
  })

  it("gives entities, events and rows with their fields", () => {
    compiled(() => {
      expectTypeOf(client.tasks.findById("t")).resolves.toExtend<Entity<Task>>()
      expectTypeOf(client.tasks.findMany()).resolves.items.toEqualTypeOf<Entity<Task>>()
      expectTypeOf(client.tasks.history("t")).resolves.items.toEqualTypeOf<EntityEvent<Task>>()
      const end = client.tasks.subscribe({ where: { done: false } }, (rows) => expectTypeOf(rows).toEqualTypeOf<Readonly<Entity<Task>>[]>())
      client.tasks.subscribe({}, ([row]) => {
        // @ts-expect-error: what others are shown, too, is not changed
        if (row) row.rank = 1
      })
      expectTypeOf(end).toEqualTypeOf<Subscribed>()
      expectTypeOf(end()).toBeVoid()
      client.tasks.subscribe("*", (event) => expectTypeOf(event.data.status).toEqualTypeOf<"open" | "done">(), {
        onError: (error) => expectTypeOf(error).toEqualTypeOf<LumenizeError>(),
      })
      void client.tasks.findMany({}, { fields: ["title", "createdAt"] })
      // @ts-expect-error: a field that there is not
      void client.tasks.findMany({}, { fields: ["heading"] })
      // @ts-expect-error: a field that there is not
      client.tasks.subscribe({}, () => {}, { fields: ["heading"] })
      void untyped.collection("tasks").findMany({}, { fields: ["whatever"] })
      client.createSubscriptionBatch().add<Task>("tasks", {}, (rows) => expectTypeOf(rows).toEqualTypeOf<Readonly<Entity<Task>>[]>())
    })
  })

  it("takes data with its fields, and no other", () => {
    const task: Task = { title: "x", status: "open", due: "2024-01-01", done: null, tags: [], owner: { name: "a", city: { code: 1 } } }
    compiled(() => {
      expectTypeOf(client.tasks.create({ ...task, id: "t" })).resolves.toEqualTypeOf<Entity<Task>>()
      void client.tasks.update("t", { status: "done" }, { unset: ["rank"], onConflict: "reject" })
      // @ts-expect-error: fields are missing
      void client.tasks.create({ title: "x" })
      // @ts-expect-error: not one of the values
      void client.tasks.update("t", { status: "closed" })
      // @ts-expect-error: no such field
      void client.tasks.update("t", { heading: "x" })
    })
  })

  it("takes queries of its fields, with values that they can have", () => {
    const good: Query<Task>[] = [
      { where: { status: "open", rank: { gte: 1, lt: 5 }, done: null, title: { contains: "x", not: "y" } } },
      { where: { due: { gte: new Date() }, createdAt: { lt: new Date() }, id: { in: ["a", "b"] }, tags: { contains: "x" } } },
      { where: { owner: { name: { startsWith: "A" }, city: { code: 5 } }, "owner.city.code": { in: [1, 2] } } },
      { where: { AND: [{ status: { in: ["open", "done"] } }, { NOT: { done: true } }], OR: { rank: 1 } }, orderBy: { rank: "asc" } },
      { orderBy: [{ createdAt: "desc" }, { "owner.name": "asc" }], limit: 5, offset: 1, after: "x" },
    ]
    expectTypeOf(good).toExtend<Query<Task>[]>()
    compiled(() => {
      // @ts-expect-error: no such field
      void client.tasks.findMany({ where: { heading: "x" } })
      // @ts-expect-error: not one of the values
      void client.tasks.count({ where: { status: "closed" } })
      // @ts-expect-error: not one of the values
      void client.tasks.count({ where: { status: { in: ["closed"] } } })
      // @ts-expect-error: a number is compared with numbers
      client.tasks.subscribe({ where: { rank: { gte: "1" } } }, () => {})
      // @ts-expect-error: no such field
      client.tasks.subscribe({ where: { AND: [{ heading: "x" }] } }, () => {})
      // @ts-expect-error: no such member
      client.tasks.subscribe({ where: { owner: { nick: "x" } } }, () => {})
      // @ts-expect-error: no such field
      client.tasks.subscribe({ orderBy: { heading: "asc" } }, () => {})
      // @ts-expect-error: undefined is no condition
      void client.tasks.findMany({ where: { rank: undefined } })
      // @ts-expect-error: undefined is no condition
      void untyped.collection("tasks").findMany({ where: { rank: undefined } })
      // @ts-expect-error: no such way
      client.tasks.subscribe({ orderBy: { title: "up" } }, () => {})
    })
  })
})

it("lets those who say no types say anything", () => {
  compiled(() => {
    untyped["tasks"]?.subscribe({ where: { a: { b: { gte: 1 } }, AND: [{ c: "x" }], NOT: { d: null } }, orderBy: { e: "asc" } }, (rows) => {
      expectTypeOf(rows[0]?.["anything"]).toBeAny()
    })
    untyped.collection("tasks").subscribe("*", (event) => expectTypeOf(event.data["anything"]).toBeAny())
    void untyped.collection("tasks").create({ anything: { goes: [1, "x", null] } })
  })
})
