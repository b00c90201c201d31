import { CORE } from "../src/core.js"
import { afterEach, beforeEach, expect, it, vi } from "vitest"
import { LumenizeClient, queryStore } from "../src/index.js"
import { CONNECTING, connectionStore, listen, listenSystem, LOADING, metricStore, NO_DOCUMENT, NO_ROOM, NO_ROWS, NOBODY, UNOPENED } from "../src/stores/index.js"
import { connectedClient, ScriptedSocket, settle } from "./scripted.js"

let client: LumenizeClient

beforeEach(async () => {
  vi.useFakeTimers()
  client = await connectedClient()
})
afterEach(() => void vi.useRealTimers())

const subscribed = (): number => client[CORE].subscriptions.size

it("costs one subscription, however many subscribe to the same query", async () => {
  const ends = Array.from({ length: 10 }, (_, index) => {
    // the members of equal queries come in any order
    const query = index % 2 ? { where: { a: 1, b: 2 }, limit: 5 } : { limit: 5, where: { b: 2, a: 1 } }
    return queryStore(client, "tasks", query).subscribe(() => {})
  })
  await settle()
  expect(subscribed()).toBe(1)
  for (const end of ends.slice(1)) end()
  await settle()
  expect(subscribed()).toBe(1)
  ends[0]?.()
  ends[0]?.()
  await settle()
  expect(subscribed()).toBe(0)
  expect(ScriptedSocket.last.of("unsubscribe")).toHaveLength(1)
})

it.each([
  ["another limit", { limit: 1 }, {}],
  ["another order", { orderBy: { b: "asc", a: "asc" } }, {}],
  ["other fields", {}, { fields: ["a"] }],
  ["permissions", {}, { includePermissions: true }],
] as const)("is another one with %s", async (_, query, options) => {
  queryStore(client, "tasks", { orderBy: { a: "asc", b: "asc" } }).subscribe(() => {})
  queryStore(client, "tasks", query as object, options as object).subscribe(() => {})
  await settle()
  expect(subscribed()).toBe(2)
})

it("gives the same snapshot until something changes", async () => {
  const store = queryStore(client, "tasks")
  let changes = 0
  store.subscribe(() => (changes += 1))
  expect(store.getSnapshot()).toEqual({ data: [], loading: true, error: null })
  expect(store.getSnapshot()).toBe(store.getSnapshot())
  await settle()
  ScriptedSocket.last.say({ type: "rows", sub: 1, rows: [{ id: "a" }], versions: [1] })
  const snapshot = store.getSnapshot()
  expect(snapshot).toEqual({ data: [{ id: "a" }], loading: false, error: null })
  ScriptedSocket.last.say({ type: "rows", sub: 1, rows: [{ id: "a" }], versions: [1] })
  expect(store.getSnapshot()).toBe(snapshot)
  expect(changes).toBe(1)
})

it("tells the error of a subscription that was refused, beside the rows that are known", async () => {
  const store = queryStore(client, "tasks")
  store.subscribe(() => {})
  await settle()
  ScriptedSocket.last.say({ type: "rows", sub: 1, rows: [{ id: "a" }], versions: [1] })
  ScriptedSocket.last.say({ type: "failure", sub: 1, error: { code: "PERMISSION_DENIED", message: "no" } })
  expect(store.getSnapshot()).toMatchObject({ data: [{ id: "a" }], loading: false, error: { code: "PERMISSION_DENIED" } })
})

it("keeps the subscription for who leaves and comes back in one turn", async () => {
  const store = queryStore(client, "tasks")
  const end = store.subscribe(() => {})
  await settle()
  end()
  store.subscribe(() => {})
  await settle()
  expect(ScriptedSocket.last.of("unsubscribe")).toEqual([])
})

it("is shared again by those who hold it from before it was given up", async () => {
  const held = queryStore(client, "tasks")
  held.subscribe(() => {})()
  await settle()
  held.subscribe(() => {})
  queryStore(client, "tasks").subscribe(() => {})
  await settle()
  expect(subscribed()).toBe(1)
})

it("shares queries with a condition with nobody", async () => {
  const condition = (): boolean => true
  queryStore(client, "tasks", { condition }).subscribe(() => {})
  queryStore(client, "tasks", {}, { condition }).subscribe(() => {})
  await settle()
  expect(subscribed()).toBe(2)
})

const FAILED = { code: "UNAVAILABLE", message: "not now", retryable: true }
const two = [
  { id: "a", tags: ["x"], n: 1 },
  { id: "b", tags: ["y"], n: 2 },
]

async function begin(): Promise<ReturnType<typeof queryStore>> {
  const store = queryStore(client, "tasks")
  store.subscribe(() => {})
  await settle()
  ScriptedSocket.last.reply(ScriptedSocket.last.of("subscribe")[0]?.id as number, [{ sub: 1 }])
  await settle()
  ScriptedSocket.last.say({ type: "rows", sub: 1, rows: structuredClone(two), versions: [1, 1] })
  return store
}

it("keeps the objects of rows that are told anew and say the same", async () => {
  const store = await begin()
  const [a, b] = store.getSnapshot().data
  const rows = [{ n: 3, id: "b", tags: ["y"] }, { id: "c" }, { tags: ["x"], n: 1, id: "a" }]
  ScriptedSocket.last.say({ type: "rows", sub: 1, rows, versions: [2, 1, 1] })
  const [changed, , same] = store.getSnapshot().data
  expect(same).toBe(a)
  expect(changed).not.toBe(b)
  expect(changed).toEqual(rows[0])
})

it.each([
  ["shorter", [1]],
  ["longer", ["x", "z"]],
  ["another type", { 0: "x" }],
  ["nothing", null],
])("is another row if a member inside it is %s", async (_, tags) => {
  const store = await begin()
  const [a] = store.getSnapshot().data
  ScriptedSocket.last.say({ type: "rows", sub: 1, rows: [{ ...two[0], tags }], versions: [2] })
  expect(store.getSnapshot().data[0]).not.toBe(a)
  expect(store.getSnapshot().data[0]).toEqual({ ...two[0], tags })
})

it("has no error any more once a query that failed for now is in force again, also with the same rows", async () => {
  const store = await begin()
  const { data } = store.getSnapshot()
  ScriptedSocket.last.say({ type: "failure", sub: 1, error: FAILED })
  expect(store.getSnapshot()).toMatchObject({ loading: false, error: { code: "UNAVAILABLE" } })
  await vi.advanceTimersByTimeAsync(1000)
  ScriptedSocket.last.reply(ScriptedSocket.last.of("subscribe")[1]?.id as number, [{ sub: 1 }])
  await settle()
  ScriptedSocket.last.say({ type: "rows", sub: 1, rows: structuredClone(two), versions: [1, 1] })
  expect(store.getSnapshot()).toEqual({ data, loading: false, error: null })
  expect(store.getSnapshot().data).toBe(data)
})

it("asks again in the next session for what was refused, and for nothing while there is none", async () => {
  const store = queryStore(client, "tasks")
  store.subscribe(() => {})
  await settle()
  ScriptedSocket.last.say({ type: "failure", sub: 1, error: { code: "PERMISSION_DENIED", message: "no" } })
  expect(subscribed()).toBe(0)
  await client.disconnect()
  expect(subscribed()).toBe(0)
  const connected = client.connect({ userId: "ada" })
  await settle()
  ScriptedSocket.last.welcome()
  await connected
  await settle()
  expect(ScriptedSocket.last.of("subscribe")).toHaveLength(1)
  ScriptedSocket.last.say({ type: "rows", sub: 2, rows: [{ id: "a" }], versions: [1] })
  expect(store.getSnapshot()).toEqual({ data: [{ id: "a" }], loading: false, error: null })
})

it("is of one client: another one has its own", async () => {
  const other = new LumenizeClient({ WebSocket: ScriptedSocket })
  queryStore(client, "tasks").subscribe(() => {})
  queryStore(other, "tasks").subscribe(() => {})
  await settle()
  expect([client, other].map((each) => each[CORE].subscriptions.size)).toEqual([1, 1])
})

it.each([
  ["NaN", { a: NaN }],
  ["an invalid date", { a: new Date("soon") }],
  ["a function", { a: () => 1 }],
  ["undefined", { a: undefined }],
])("tells in its state that %s makes no query", async (_, where) => {
  const store = queryStore(client, "tasks", { where: where as never })
  store.subscribe(() => {})
  await settle()
  expect(store.getSnapshot()).toMatchObject({ data: [], loading: false, error: { code: "INVALID_REQUEST" } })
  for (const where of [{ a: null }, {}]) {
    const sensible = queryStore(client, "tasks", { where })
    sensible.subscribe(() => {})
    expect(sensible.getSnapshot()).toMatchObject({ loading: true, error: null })
  }
})

it("hands out nothing that one component could change for the others", () => {
  const connection = connectionStore(client)
  for (const state of [LOADING, CONNECTING, NOBODY, UNOPENED, connection.getSnapshot(), NO_ROWS.getSnapshot(), NO_ROOM.getSnapshot(), NO_DOCUMENT.getSnapshot()]) {
    expect(Object.isFrozen(state)).toBe(true)
  }
  expect(Object.isFrozen(LOADING.data) && Object.isFrozen(NOBODY.people)).toBe(true)
})

it("asks for numbers and for what the system tells again in the next session, too", async () => {
  const told = vi.fn()
  client.onError(() => {})
  const visitors = metricStore(client, "active_users")
  visitors.subscribe(() => {})
  listenSystem(client, "health", told)
  await settle()
  const subs = (): number[] => ScriptedSocket.last.of("subscribe").flatMap((each) => (each["subscriptions"] as { sub: number }[]).map(({ sub }) => sub))
  for (const sub of subs()) ScriptedSocket.last.say({ type: "failure", sub, error: { code: "PERMISSION_DENIED", message: "no" } })
  await client.disconnect()
  const connected = client.connect({ userId: "ada" })
  await settle()
  ScriptedSocket.last.welcome()
  await connected
  await settle()
  const [metric, system] = subs() as [number, number]
  ScriptedSocket.last.say({ type: "metric", subs: [metric], value: 3 })
  ScriptedSocket.last.say({ type: "system", subs: [system], event: { type: "health" } })
  expect(visitors.getSnapshot()).toEqual({ value: 3, loading: false, error: null })
  expect(told).toHaveBeenCalledOnce()
})

it("tells each who wants a channel that it was refused, and joins it for the next user", async () => {
  const errors = [vi.fn(), vi.fn()]
  const ends = errors.map((failed) => listen(client, "typing", () => {}, ["secret"], failed))
  await settle()
  const joins = () => ScriptedSocket.last.of("joinChannel")
  expect(joins()).toHaveLength(1)
  ScriptedSocket.last.say({ type: "failure", id: joins()[0]?.id as number, error: { code: "PERMISSION_DENIED", message: "no" } })
  await settle()
  for (const failed of errors) expect(failed).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ code: "PERMISSION_DENIED" }))
  await client.disconnect()
  const connected = client.connect({ userId: "ada" })
  await settle()
  ScriptedSocket.last.welcome()
  await connected
  await settle()
  expect(joins()).toHaveLength(1)
  ends[0]?.()
  await settle()
  expect(ScriptedSocket.last.of("leaveChannel")).toHaveLength(0)
  ends[1]?.()
  await settle()
  expect(ScriptedSocket.last.of("leaveChannel")).toHaveLength(1)
})
