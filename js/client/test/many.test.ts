/** Several writes in one request, each on its own. */
import { afterEach, beforeEach, expect, it, vi } from "vitest"
import { LumenizeClient, type Data } from "../src/index.js"
import { ScriptedSocket, settle } from "./scripted.js"

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

async function connected(): Promise<LumenizeClient<{ tasks: Data }>> {
  const client = new LumenizeClient<{ tasks: Data }>({ WebSocket: ScriptedSocket.fresh() })
  client.onError(() => {})
  const ready = client.connect()
  await settle()
  socket().welcome()
  await ready
  return client
}

const socket = (): ScriptedSocket => ScriptedSocket.last
const result = (id: string, n: number): object => ({ data: { id, n, createdAt: "", updatedAt: "" }, version: n })
const refused = (code: string, details = {}): object => ({ error: { code, message: "no", details, retryable: code === "UNAVAILABLE" } })

it("sends them in one message, each under its own name, and gives the outcome of each in order", async () => {
  const client = await connected()
  const outcomes = client.tasks.createMany([{ id: "a", n: 1 }, { id: "b", n: 2 }, { n: 3 }])
  const [sent] = socket().sent.slice(1)
  expect(sent).toMatchObject({
    type: "writeMany",
    writes: [
      { type: "create", collection: "tasks", entity: "a", data: { n: 1 } },
      { type: "create", collection: "tasks", entity: "b", data: { n: 2 } },
      { type: "create", collection: "tasks", data: { n: 3 } },
    ],
  })
  const writes = sent?.["writes"] as { request: string; entity: string }[]
  expect(new Set(writes.map(({ request }) => request)).size).toBe(3)
  expect(client.pending).toBe(3)
  socket().reply(1, [result("a", 1), refused("CONFLICT"), result(writes[2]?.entity as string, 3)])
  expect(await outcomes).toMatchObject([
    { status: "fulfilled", value: { id: "a", n: 1 } },
    { status: "rejected", reason: { code: "CONFLICT" } },
    { status: "fulfilled", value: { n: 3 } },
  ])
  expect(client.pending).toBe(0)
})

it("bases updates on what was seen, and shows conflicts", async () => {
  const client = await connected()
  const met = vi.fn()
  client.onConflict(met)
  const found = client.tasks.findById("a")
  socket().reply(1, { data: { id: "a" }, version: 7 })
  await found
  const outcomes = client.tasks.updateMany([{ id: "a", changes: { n: 1 } }, { id: "b", changes: {}, unset: ["x"], onConflict: "reject", version: 3 }])
  expect(socket().sent.at(-1)).toMatchObject({
    writes: [
      { type: "update", entity: "a", changes: { n: 1 }, version: 7 },
      { type: "update", entity: "b", unset: ["x"], onConflict: "reject", version: 3 },
    ],
  })
  const conflict = { field: "n", base: 0, theirs: 2, yours: 1, winner: "yours", userId: null, at: null }
  socket().reply(2, [{ ...result("a", 9), conflicts: [conflict] }, result("b", 4)])
  await outcomes
  await settle()
  expect(met).toHaveBeenCalledWith([conflict], { collection: "tasks", id: "a" })
  expect([client.tasks.seen("a"), client.tasks.seen("b")]).toEqual([9, 4])
})

it("sends all of them again if the server cannot make one now: each has effect once under its name", async () => {
  const client = await connected()
  const outcomes = client.tasks.deleteMany(["a", "b"])
  const first = socket().sent.at(-1)
  socket().reply(1, [result("a", 2), refused("UNAVAILABLE", { retryAfter: 2 })])
  expect(client.pending).toBe(2)
  await vi.advanceTimersByTimeAsync(1900)
  expect(socket().sent).toHaveLength(2)
  await vi.advanceTimersByTimeAsync(200)
  expect(socket().sent.slice(1)).toEqual([first, first])
  socket().reply(1, [result("a", 2), result("b", 5)])
  expect(await outcomes).toMatchObject([{ status: "fulfilled" }, { status: "fulfilled" }])
})

it("sends a transaction as one, once, and shows it until it is refused", async () => {
  const client = await connected()
  const seen: unknown[] = []
  client.tasks.subscribe({ orderBy: { id: "asc" } }, (rows) => seen.push(rows.map(({ id, n }) => [id, n])))
  await settle()
  const { id, subscriptions } = socket().of("subscribe")[0] as unknown as { id: number; subscriptions: { sub: number }[] }
  const sub = subscriptions[0]?.sub as number
  socket().reply(id, [{ sub, cursor: "c" }])
  socket().say({ type: "rows", sub, rows: [{ id: "a", n: 1 }], versions: [4] })
  const transaction = client.transaction().create("tasks", { id: "b", n: 2 }).update("tasks", "a", { n: 3 }).delete<Data>("drafts", "d")
  expect(socket().of("transaction")).toEqual([])
  const outcome = transaction.commit()
  await settle()
  expect(seen.at(-1)).toEqual([["a", 3], ["b", 2]])
  expect(client.pending).toBe(3)
  const first = socket().sent.at(-1)
  expect(first).toMatchObject({
    type: "transaction",
    writes: [
      { type: "create", collection: "tasks", entity: "b", data: { n: 2 } },
      { type: "update", collection: "tasks", entity: "a", changes: { n: 3 }, version: 4 },
      { type: "delete", collection: "drafts", entity: "d" },
    ],
  })
  socket().end()
  await vi.advanceTimersByTimeAsync(3000)
  socket().welcome()
  expect(socket().of("transaction")).toEqual([first])
  socket().refuse(first?.id as number, "CONFLICT", { write: 1 })
  await expect(outcome).rejects.toMatchObject({ code: "CONFLICT", details: { write: 1 } })
  await settle()
  expect(seen.at(-1)).toEqual([["a", 1]])
  expect(client.pending).toBe(0)
})

it("gives what a transaction has written, and does not send what makes no sense", async () => {
  const client = await connected()
  const outcome = client.transaction().create("tasks", { id: "a" }).delete("tasks", "b").commit()
  socket().reply(socket().sent.at(-1)?.id as number, [result("a", 1), result("b", 2)])
  expect(await outcome).toMatchObject([{ id: "a" }, { id: "b" }])
  expect(client.tasks.seen("b")).toBe(2)
  const sent = socket().sent.length
  expect(() => client.transaction().update("tasks", "a", { "x.y": 1 })).toThrow("field names cannot contain dots")
  expect(() => client.transaction().delete("tasks", 7 as never)).toThrow("an id must be a string")
  await expect(client.transaction().create("tasks", { id: "a" }).delete("tasks", "a").commit()).rejects.toThrow("may occur once")
  expect(socket().sent).toHaveLength(sent)
})

it("sends them after a reconnect in the same message", async () => {
  const client = await connected()
  void client.tasks.createMany([{ id: "a" }, { id: "b" }])
  const first = socket().sent.at(-1)
  socket().end()
  await vi.advanceTimersByTimeAsync(3000)
  expect(ScriptedSocket.all).toHaveLength(2)
  socket().welcome()
  expect(socket().sent.slice(1)).toEqual([first])
})
