import { CORE } from "../src/core.js"
import { afterEach, beforeEach, expect, it, vi } from "vitest"
import type { Group, LumenizeClient } from "../src/index.js"
import { aggregateStore, NO_GROUPS, UNCOUNTED } from "../src/stores/index.js"
import { connectedClient, ScriptedSocket, settle } from "./scripted.js"

let client: LumenizeClient

beforeEach(async () => {
  vi.useFakeTimers()
  client = await connectedClient()
})
afterEach(() => void vi.useRealTimers())

const group = (value: string, count: number): Group => ({ id: JSON.stringify([value]), group: { team: value }, count, sum: { n: count / 10 } })

it("asks once and resolves with the groups", async () => {
  const asked = client.tasks!.aggregate({ where: { done: false }, groupBy: "team", sum: ["n"] })
  await settle()
  const [request] = ScriptedSocket.last.of("aggregate")
  expect(request).toMatchObject({ collection: "tasks", query: { where: { done: false }, groupBy: "team", sum: ["n"] } })
  ScriptedSocket.last.reply(request!.id, { groups: [group("a", 1)] })
  expect(await asked).toEqual([group("a", 1)])
})

it("shows the groups now and after each change, frozen", async () => {
  const seen: (readonly Group[])[] = []
  const end = client.tasks!.subscribeAggregate({ groupBy: "team", sum: "n" }, (groups) => void seen.push(groups))
  await settle()
  expect(ScriptedSocket.last.of("subscribe")[0]?.["subscriptions"]).toEqual([
    { sub: 1, target: { kind: "aggregate", collection: "tasks", query: { groupBy: "team", sum: "n" } } },
  ])
  const [a, b, c] = [group("a", 1), group("b", 2), group("c", 3)]
  ScriptedSocket.last.say({ type: "rows", sub: 1, rows: [a, b], versions: [0, 0] })
  ScriptedSocket.last.say({
    type: "diff",
    sub: 1,
    steps: [
      { op: "change", id: a.id, set: { count: 2, sum: { n: 0.2 } } },
      { op: "leave", id: b.id },
      { op: "enter", id: c.id, index: 1, data: c },
    ],
  })
  expect(seen).toEqual([[a, b], [group("a", 2), c]])
  expect(Object.isFrozen(seen[1]![0])).toBe(true)
  end()
  ScriptedSocket.last.say({ type: "diff", sub: 1, steps: [{ op: "leave", id: a.id }] })
  expect(seen).toHaveLength(2)
})

it("asks for all groups again if a step does not fit", async () => {
  const seen: unknown[] = []
  client.tasks!.subscribeAggregate({}, (groups) => void seen.push(groups))
  await settle()
  ScriptedSocket.last.say({ type: "rows", sub: 1, rows: [], versions: [] })
  ScriptedSocket.last.say({ type: "diff", sub: 1, steps: [{ op: "leave", id: "x" }] })
  await settle()
  expect(ScriptedSocket.last.of("subscribe")).toHaveLength(2)
})

it("refuses an aggregate and options that it does not understand, before anything is sent", async () => {
  const wrong = [
    () => client.tasks!.subscribeAggregate({ where: { a: undefined } } as never, () => {}),
    () => client.tasks!.subscribeAggregate("team" as never, () => {}),
    () => client.tasks!.subscribeAggregate({}, "callback" as never),
    () => client.tasks!.subscribeAggregate({}, () => {}, { fields: ["a"] } as never),
  ]
  for (const each of wrong) expect(each).toThrow(expect.objectContaining({ code: "INVALID_REQUEST" }))
  await expect(client.tasks!.aggregate({ sum: undefined } as never)).rejects.toMatchObject({ code: "INVALID_REQUEST" })
  await settle()
  expect(ScriptedSocket.last.of("subscribe")).toEqual([])
})

it("has a store, shared by those with the same aggregate", async () => {
  const store = aggregateStore(client, "tasks", { groupBy: "team" })
  const other = aggregateStore(client, "tasks", { groupBy: "team" })
  const ends = [store.subscribe(() => {}), other.subscribe(() => {})]
  expect(store.getSnapshot()).toBe(UNCOUNTED)
  await settle()
  expect(client[CORE].subscriptions.size).toBe(1)
  ScriptedSocket.last.say({ type: "rows", sub: 1, rows: [group("a", 1)], versions: [0] })
  expect(other.getSnapshot()).toEqual({ data: [group("a", 1)], loading: false, error: null })
  expect(other.getSnapshot()).toBe(store.getSnapshot())
  ScriptedSocket.last.say({ type: "failure", sub: 1, error: { code: "PERMISSION_DENIED", message: "no", details: {}, retryable: false } })
  expect(store.getSnapshot()).toMatchObject({ data: [group("a", 1)], error: { code: "PERMISSION_DENIED" } })
  for (const end of ends) end()
  await settle()
  expect(client[CORE].subscriptions.size).toBe(0)
  expect(NO_GROUPS.getSnapshot()).toEqual({ data: [], loading: false, error: null })
})
