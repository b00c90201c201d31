import { afterEach, beforeEach, expect, it, vi } from "vitest"
import { LumenizeClient, queryStore } from "../src/index.js"
import { ScriptedSocket, settle } from "./scripted.js"

let client: LumenizeClient

beforeEach(async () => {
  vi.useFakeTimers()
  client = new LumenizeClient({ WebSocket: ScriptedSocket.fresh() })
  const connected = client.connect()
  await settle()
  ScriptedSocket.last.welcome()
  await connected
})
afterEach(() => void vi.useRealTimers())

const subscribed = (): number => client.core.subscriptions.size

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
