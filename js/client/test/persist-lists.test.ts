/** Lists and writes that a page keeps, where their order, their size or what is related to them matters. */
import { expect, it, vi } from "vitest"
import type { Data, LumenizeClient, Row } from "../src/index.js"
import { kept, name, Page, read } from "./pages-kept.js"
import { settle } from "./scripted.js"

const query = { include: { owner: true, comments: { limit: 2 } } } as const
const rows = [
  { id: "t1", ownerId: "u1" },
  { id: "t2", ownerId: "u2" },
]
const included = {
  owner: { collection: "users", by: "ownerId", member: "id", one: true, rows: { u1: [{ id: "u1", name: "Ada" }] }, versions: { u1: [3] } },
  comments: { collection: "comments", by: "id", member: "taskId", rows: { t1: [{ id: "c1", taskId: "t1", n: 1 }] }, versions: { t1: [5] } },
}

function follow(client: LumenizeClient<never>): { seen: unknown[] } {
  const seen: unknown[] = []
  const told = ({ id, $included }: Row): unknown => [id, $included?.["owner"]?.name ?? null, ($included?.["comments"] as Data[]).map(({ n }) => n)]
  client.collection("notes").subscribe(query, (all) => void seen.push((all as Row[]).map(told)))
  return { seen }
}

/** Tells the rows of the query that includes others. */
function tell(page: Page, name: string): void {
  for (const { subscriptions } of page.socket.of("subscribe")) {
    for (const { sub, target } of subscriptions as { sub: number; target: Data }[]) {
      if (target["collection"] !== "notes") continue
      page.socket.say({ type: "rows", sub, rows, versions: [1, 1], included: { ...included, owner: { ...included.owner, rows: { u1: [{ id: "u1", name }] } } } })
    }
  }
}

it("does not show kept rows after newer ones that wait for the code that shows what is related to them", async () => {
  const before = await Page.open()
  follow(before.client as never)
  await before.greet()
  tell(before, "old")
  await vi.waitFor(async () => expect((await read("rows")).join()).toContain("old"), { timeout: 5000 })
  before.close()
  vi.resetModules() // the code is loaded anew
  let release = (): void => {}
  const held = new Promise<void>((resolve) => (release = resolve))
  vi.doMock("../src/included.js", async (original) => (await held, original()))
  const after = await Page.open()
  await after.greet()
  const get = vi.spyOn(IDBObjectStore.prototype, "get")
  const { seen } = follow(after.client as never)
  await vi.waitFor(() => expect(after.socket.of("subscribe").length).toBeGreaterThan(1))
  tell(after, "new")
  await vi.waitFor(() => expect(get.mock.calls.some(([key]) => String(key).includes("notes"))).toBe(true))
  for (let n = 0; n < 10; n++) await settle()
  release()
  vi.doUnmock("../src/included.js")
  await vi.waitFor(() => expect(seen.length).toBeGreaterThan(0))
  await settle()
  expect(seen).toEqual([[["t1", "new", [1]], ["t2", null, []]]])
})

it("finds the rows of a query that means the same", async () => {
  const before = await Page.open()
  before.client.notes.subscribe({ where: { a: 1, b: { gte: 2, lt: 5 } }, limit: 3 }, () => {})
  await before.greet([{ id: "a" }])
  await kept("rows", 2)
  before.close()
  const after = await Page.open()
  const heard: unknown[] = []
  after.client.notes.subscribe({ limit: 3, where: { b: { lt: 5, gte: 2 }, a: 1 } }, (all) => heard.push(all.length))
  await vi.waitFor(() => expect(heard).toEqual([1]))
})

it("forgets the rows that it knew of a list that has become too large to keep", async () => {
  const page = await Page.open({ persist: { name, maxBytes: 300 } })
  await page.greet([{ id: "a", title: "x" }])
  await kept("rows", 1)
  const [{ subscriptions }] = page.socket.of("subscribe") as unknown as [{ subscriptions: { sub: number }[] }]
  page.socket.say({ type: "rows", sub: subscriptions[0]?.sub as number, rows: [{ id: "a", title: "x".repeat(400) }], versions: [4] })
  await kept("rows", 0)
})

it("sends writes in the order in which pages made them, whatever the clock says", async () => {
  const now = Date.now()
  const clock = vi.spyOn(Date, "now").mockReturnValue(now)
  const one = await Page.open()
  await one.greet([{ id: "a", title: "old" }])
  await kept("rows", 1)
  await one.cut()
  one.client.tasks.update("a", { title: "first" }).catch(() => {})
  await kept("writes", 1)
  one.close()
  clock.mockReturnValue(now - 3_600_000)
  const two = await Page.open()
  await vi.waitFor(() => expect(two.client.pending).toBe(1))
  two.client.tasks.update("a", { title: "second" }).catch(() => {})
  await kept("writes", 2)
  two.close()
  const three = await Page.open()
  await vi.waitFor(() => expect(three.client.pending).toBe(2))
  expect(three.rows).toEqual(["a: second"])
})

it("keeps of a write that waits the version on which it is based by now", async () => {
  const page = await Page.open()
  await page.greet([{ id: "a", title: "old" }])
  for (const title of ["one", "two"]) page.client.tasks.update("a", { title }, { onConflict: "reject" }).catch(() => {})
  await vi.waitFor(() => expect(page.socket.of("update")).toHaveLength(1))
  // the next one cannot be sent yet
  page.client.tasks.create({ id: "b" }).catch(() => {})
  await vi.waitFor(() => expect(page.socket.of("create")).toHaveLength(1))
  page.socket.refuse(page.socket.of("create")[0]?.id as number, "UNAVAILABLE", { retryAfter: 30 }, true)
  page.socket.reply(page.socket.of("update")[0]?.id as number, { data: { id: "a", title: "one" }, version: 4, conflicts: [] })
  await kept("writes", 2)
  page.close()
  const after = await Page.open()
  await after.greet([{ id: "a", title: "one" }])
  await vi.waitFor(() => expect(after.socket.of("update")).toHaveLength(1))
  expect(after.socket.of("update")[0]).toMatchObject({ version: 4, changes: { title: "two" } })
})

it("sends a transaction and many creations after a reload, once each, and tells the refusal of the whole", async () => {
  const before = await Page.open()
  await before.greet()
  await before.cut()
  const transaction = before.client.transaction()
  transaction.create("tasks", { id: "x", title: "in" })
  transaction.create("tasks", { id: "y", title: "in" })
  transaction.commit().catch(() => {})
  before.client.tasks.createMany([{ id: "m", title: "many" }, { id: "n", title: "many" }]).catch(() => {})
  await kept("writes", 2)
  before.close()
  const after = await Page.open()
  await vi.waitFor(() => expect(after.rows).toEqual(["m: many", "n: many", "x: in", "y: in"]))
  expect(after.client.pending).toBe(4)
  await after.greet()
  await vi.waitFor(() => expect(after.socket.of("writeMany")).toHaveLength(1))
  expect(after.socket.of("transaction")).toHaveLength(1)
  after.socket.refuse(after.socket.of("transaction")[0]?.id as number, "CONFLICT", { data: {} })
  const made = ["m", "n"].map((id) => ({ data: { id, title: "many" }, version: 1, conflicts: [] }))
  after.socket.reply(after.socket.of("writeMany")[0]?.id as number, made)
  await after.client.saved()
  await vi.waitFor(() => expect(after.codes()).toEqual(["CONFLICT"]))
  expect(after.errors.at(-1)?.details["request"]).toMatchObject({ type: "transaction", writes: [{ entity: "x" }, { entity: "y" }] })
  expect(after.rows).toEqual(["m: many", "n: many"])
  await kept("writes", 0)
})
