import { afterEach, beforeEach, expect, it, vi } from "vitest"
import type { Data, Entity, LumenizeClient, LumenizeError, Row } from "../src/index.js"
import { pagesStore, queryStore } from "../src/stores/index.js"
import { connectedClient, ScriptedSocket, settle } from "./scripted.js"

let client: LumenizeClient

beforeEach(async () => {
  vi.useFakeTimers()
  client = await connectedClient()
})
afterEach(() => void vi.useRealTimers())

const query = { orderBy: { n: "asc" }, include: { owner: true, comments: { orderBy: { n: "desc" }, limit: 2 } } } as const
const owner = { collection: "users", by: "ownerId", member: "id", one: true, rows: {}, versions: {} }
const comments = { collection: "comments", by: "id", member: "taskId" }
const included = {
  owner: { ...owner, rows: { u1: [{ id: "u1", name: "Ada" }] }, versions: { u1: [3] } },
  comments: { ...comments, rows: { t1: [{ id: "c1", taskId: "t1", n: 1 }] }, versions: { t1: [5] } },
}
const rows = [
  { id: "t1", n: 1, ownerId: "u1" },
  { id: "t2", n: 2, ownerId: "u2" },
]

async function loaded(): Promise<void> {
  await vi.waitFor(async () => {
    await import("../src/included.js")
    await settle()
  })
}

async function followed(): Promise<{ seen: readonly Row[][]; last: () => unknown[] }> {
  const seen: Row[][] = []
  client.tasks!.subscribe(query, (rows) => void seen.push(rows as Row[]))
  await settle()
  const [request] = ScriptedSocket.last.of("subscribe")
  ScriptedSocket.last.reply(request!.id, [{ sub: 1 }])
  ScriptedSocket.last.say({ type: "rows", sub: 1, rows, versions: [1, 1], included })
  await loaded()
  return { seen, last: () => (seen.at(-1) ?? []).map(told) }
}

/** The id of a row, its owner's name, and the numbers of its comments. */
function told({ id, $included }: Row): unknown {
  return [id, $included?.["owner"]?.name ?? null, ($included?.["comments"] as Data[]).map(({ n }) => n)]
}

it("takes a key for a name, whatever objects inherit", async () => {
  const asked = client.tasks!.findMany(query)
  await settle()
  const odd = [{ id: "t1", ownerId: "constructor" }]
  ScriptedSocket.last.reply(ScriptedSocket.last.of("findMany")[0]!.id, { rows: odd, versions: [1], included: { owner } })
  expect((await asked)[0]).toEqual({ ...odd[0], $included: { owner: null } })
  const seen: unknown[] = []
  client.tasks!.subscribe(query, (rows) => void seen.push(...rows))
  await settle()
  ScriptedSocket.last.say({ type: "rows", sub: 1, rows: odd, versions: [1], included: { owner } })
  await loaded()
  expect(seen).toEqual([{ ...odd[0], $included: { owner: null } }])
})

it("reads rows with what is related to them, and sees the versions of these", async () => {
  const asked = client.tasks!.findMany(query)
  await settle()
  const [request] = ScriptedSocket.last.of("findMany")
  expect(request).toMatchObject({ collection: "tasks", query })
  ScriptedSocket.last.reply(request!.id, { rows, versions: [1, 1], included })
  const found: Row<Data, { owner: Entity | null; comments: Entity[] }>[] = await asked
  expect(found.map(told)).toEqual([
    ["t1", "Ada", [1]],
    ["t2", null, []],
  ])
  expect(found[1]?.$included?.owner).toBe(null)
  expect(client.users!.seen("u1")).toBe(3)
  expect(client.comments!.seen("c1")).toBe(5)
})

it("follows rows, and what is related to them, in one message", async () => {
  const { seen, last } = await followed()
  expect(last()).toEqual([
    ["t1", "Ada", [1]],
    ["t2", null, []],
  ])
  expect(Object.isFrozen(seen[0]![0]!.$included)).toBe(true)
  ScriptedSocket.last.say({
    type: "diff",
    sub: 1,
    steps: [{ op: "change", id: "t2", set: { ownerId: "u3" }, version: 2 }],
    included: [
      { relation: "owner", key: "u3", fresh: true, steps: [{ op: "enter", id: "u3", index: 0, data: { id: "u3", name: "Eve" }, version: 1 }] },
      { relation: "owner", key: "u1", steps: [{ op: "change", id: "u1", set: { name: "Adele" }, version: 4 }] },
      { relation: "owner", key: "u9", steps: [{ op: "leave", id: "u9" }] },
    ],
  })
  expect(last()).toEqual([
    ["t1", "Adele", [1]],
    ["t2", "Eve", []],
  ])
  expect(seen).toHaveLength(2)
})

it("forgets lists whose key no row has, and asks again if a step does not fit", async () => {
  const { last } = await followed()
  ScriptedSocket.last.say({ type: "diff", sub: 1, steps: [{ op: "change", id: "t1", set: { ownerId: "u2" }, version: 2 }] })
  ScriptedSocket.last.say({ type: "diff", sub: 1, steps: [{ op: "change", id: "t1", set: { ownerId: "u1" }, version: 3 }] })
  expect(last()[0]).toEqual(["t1", null, [1]])
  ScriptedSocket.last.say({
    type: "diff",
    sub: 1,
    steps: [],
    included: [{ relation: "owner", key: "u1", steps: [{ op: "change", id: "u1", set: {} }] }],
  })
  await settle()
  expect(ScriptedSocket.last.of("subscribe")).toHaveLength(2)
})

it("shows own writes to related rows before the server has them, until it has refused or told them", async () => {
  const { last } = await followed()
  const renamed = client.users!.update("u1", { name: "Eve" })
  void client.comments!.create({ id: "c2", taskId: "t2", n: 7 })
  void client.comments!.update("c1", { n: 4 })
  await settle()
  expect(last()).toEqual([
    ["t1", "Eve", [4]],
    ["t2", null, [7]],
  ])
  ScriptedSocket.last.refuse(ScriptedSocket.last.of("update")[0]!.id, "PERMISSION_DENIED")
  await expect(renamed).rejects.toMatchObject({ code: "PERMISSION_DENIED" })
  const data = { id: "c2", taskId: "t2", n: 7 }
  ScriptedSocket.last.reply(ScriptedSocket.last.of("create")[0]!.id, { data, version: 1, conflicts: [] })
  await settle()
  expect(last()).toEqual([
    ["t1", "Ada", [4]],
    ["t2", null, [7]],
  ])
  ScriptedSocket.last.say({
    type: "diff",
    sub: 1,
    steps: [],
    included: [{ relation: "comments", key: "t2", steps: [{ op: "enter", id: "c2", index: 0, data, version: 1 }] }],
  })
  ScriptedSocket.last.say({
    type: "diff",
    sub: 1,
    steps: [],
    included: [{ relation: "comments", key: "t2", steps: [{ op: "leave", id: "c2" }] }],
  })
  expect(last()[1]).toEqual(["t2", null, []])
})

it("gives stores rows that stay the same objects until they change, and pages no more than the server allows", async () => {
  const store = queryStore(client, "tasks", query)
  store.subscribe(() => {})
  await settle()
  ScriptedSocket.last.say({ type: "rows", sub: 1, rows, versions: [1, 1], included })
  await loaded()
  const [first, second] = store.getSnapshot().data
  ScriptedSocket.last.say({
    type: "diff",
    sub: 1,
    steps: [],
    included: [{ relation: "owner", key: "u1", steps: [{ op: "change", id: "u1", set: { name: "Eve" }, version: 4 }] }],
  })
  const now = store.getSnapshot().data
  expect(now[0]).not.toBe(first)
  expect(now[1]).toBe(second)
  pagesStore(client, "tasks", query, { pageSize: 5_000 }).subscribe(() => {})
  await settle()
  const [, pages] = ScriptedSocket.last.of("subscribe")
  expect(pages!["subscriptions"]).toMatchObject([{ target: { query: { limit: 1_000 } } }])
})

it("says once that the code for included rows could not be loaded, and loads it again until it is", async () => {
  vi.resetModules()
  vi.doMock("../src/included.js", () => {
    throw new Error("no network")
  })
  const errors: LumenizeError[] = []
  const seen: Row[][] = []
  client.tasks!.subscribe(query, (rows) => void seen.push(rows as Row[]), { onError: (error) => errors.push(error) })
  await vi.waitFor(() => expect(errors).toHaveLength(1))
  const store = queryStore(client, "tasks", query as never)
  store.subscribe(() => {})
  expect(errors[0]).toMatchObject({ code: "CONNECTION_LOST", retryable: true, message: expect.stringContaining("include") })
  await vi.waitFor(() => expect(store.getSnapshot()).toMatchObject({ loading: false, error: { code: "CONNECTION_LOST" } }))
  for (const sub of [1, 2]) ScriptedSocket.last.say({ type: "rows", sub, rows, versions: [1, 1], included })
  for (const sub of [1, 2]) ScriptedSocket.last.say({ type: "diff", sub, steps: [{ op: "leave", id: "t2" }] })
  await vi.advanceTimersByTimeAsync(5000)
  expect([errors.length, seen]).toEqual([1, []])
  await expect(asFound()).rejects.toMatchObject({ code: "CONNECTION_LOST" })
  vi.doUnmock("../src/included.js")
  await vi.waitFor(async () => {
    await vi.advanceTimersByTimeAsync(1000)
    expect(seen.at(-1)?.map(told)).toEqual([["t1", "Ada", [1]]])
  })
  expect(store.getSnapshot()).toMatchObject({ loading: false, error: null, data: [{ id: "t1" }] })
  expect((await asFound()).map(told)).toEqual([["t1", "Ada", [1]], ["t2", null, []]])
})

async function asFound(): Promise<Row[]> {
  const asked = client.tasks!.findMany(query)
  asked.catch(() => {})
  await settle()
  ScriptedSocket.last.reply(ScriptedSocket.last.of("findMany").at(-1)!.id, { rows, versions: [1, 1], included })
  return (await asked) as Row[]
}
