/** Clients that keep their state, in pages that are reloaded, closed and opened beside each other. */
import { openDB } from "idb"
import { expect, it, vi } from "vitest"
import { CORE } from "../src/core.js"
import { LumenizeClient, type Data, type LumenizeError, type Row } from "../src/index.js"
import { openDatabase, UPGRADES } from "../src/persist/database.js"
import { kept, name, Page, put, read } from "./pages-kept.js"
import { settle } from "./scripted.js"

const SPACE = JSON.stringify(["ws://localhost:8000/realtime", "default", "ada"])

it("shows after a reload without network what it knew, and sends what it owes once", async () => {
  const before = await Page.open()
  await before.greet([{ id: "a", title: "old" }])
  await kept("rows", 1)
  await before.cut()
  before.client.tasks.update("a", { title: "new" }).catch(() => {})
  before.client.tasks.create({ id: "b", title: "made" }).catch(() => {})
  await kept("writes", 2)
  before.close()

  const after = await Page.open()
  await vi.waitFor(() => expect(after.rows).toEqual(["a: new", "b: made"]))
  expect(after.client.pending).toBe(2)
  expect(after.client.isPending("tasks", "b")).toBe(true)
  expect(after.client.isConnected()).toBe(false)
  await after.greet([{ id: "a", title: "old" }])
  await vi.waitFor(() => expect(after.socket.of("create")).toHaveLength(1))
  const [update] = after.socket.of("update")
  const [create] = after.socket.of("create")
  expect(update).toMatchObject({ entity: "a", changes: { title: "new" }, version: 3 })
  expect(typeof create?.["request"]).toBe("string")

  // the answer is lost with the tab: the next one sends it under the same name
  after.close()
  const last = await Page.open()
  await last.greet([{ id: "a", title: "old" }])
  await vi.waitFor(() => expect(last.socket.of("create")).toHaveLength(1))
  expect(last.socket.of("create")[0]?.["request"]).toBe(create?.["request"])
  last.socket.reply(last.socket.of("update")[0]?.id as number, { data: { id: "a", title: "new" }, version: 4, conflicts: [] })
  last.socket.reply(last.socket.of("create")[0]?.id as number, { data: { id: "b", title: "made" }, version: 1, conflicts: [] })
  await last.client.saved()
  await kept("writes", 0)
  expect(last.rows).toEqual(["a: new", "b: made"])
  expect(last.codes()).toEqual([])
})

it("tells a write that is refused after a reload, and takes its row back", async () => {
  const before = await Page.open()
  await before.greet()
  await kept("rows", 1)
  await before.cut()
  before.client.tasks.create({ id: "b", title: "made" }).catch(() => {})
  await kept("writes", 1)
  before.close()
  const after = await Page.open()
  await vi.waitFor(() => expect(after.rows).toEqual(["b: made"]))
  await after.greet()
  await vi.waitFor(() => expect(after.socket.of("create")).toHaveLength(1))
  after.socket.refuse(after.socket.of("create")[0]?.id as number, "VALIDATION_FAILED", { fields: ["title"] })
  await vi.waitFor(() => expect(after.codes()).toEqual(["VALIDATION_FAILED"]))
  expect(after.errors.at(-1)?.details).toMatchObject({ fields: ["title"], request: { type: "create", collection: "tasks", entity: "b", data: { title: "made" } } })
  expect(after.rows).toEqual([])
  await kept("writes", 0)
})

it("tells conflicts, and each refused write of many, after a reload", async () => {
  const before = await Page.open()
  await before.greet([{ id: "a", title: "old" }])
  await before.cut()
  before.client.tasks.updateMany([{ id: "a", changes: { title: "mine" } }, { id: "x", changes: {} }]).catch(() => {})
  await kept("writes", 1)
  before.close()
  const heard: unknown[] = []
  const after = await Page.open({ onConflict: (conflicts, context) => heard.push(conflicts.length, context) })
  await after.greet([{ id: "a", title: "old" }])
  await vi.waitFor(() => expect(after.socket.of("writeMany")).toHaveLength(1))
  const conflict = { field: "title", base: "old", theirs: "other", yours: "mine", winner: "yours", userId: null, at: null }
  after.socket.reply(after.socket.of("writeMany")[0]?.id as number, [
    { data: { id: "a", title: "mine" }, version: 5, conflicts: [conflict] },
    { error: { code: "NOT_FOUND", message: "no x" } },
  ])
  await vi.waitFor(() => expect(after.codes()).toEqual(["NOT_FOUND"]))
  expect(heard).toEqual([1, { collection: "tasks", id: "a" }])
  expect(after.errors.at(-1)?.details["request"]).toMatchObject({ entity: "x" })
})

it("shows and sends nothing of one user to the next, who may come back", async () => {
  const ada = await Page.open()
  await ada.greet([{ id: "a", title: "secret" }])
  await kept("rows", 1)
  await ada.cut()
  const refused = ada.client.tasks.create({ id: "b", title: "mine" }).catch((error: LumenizeError) => error.code)
  await kept("writes", 1)
  // in the same page
  ada.client.connect({ userId: "bob" }).catch(() => {})
  expect(await refused).toBe("AUTHENTICATION_FAILED")
  let seen: unknown = null
  ada.client.tasks.subscribe({ where: {} }, (rows) => (seen = rows))
  await vi.waitFor(() => expect(ada.sockets.length).toBeGreaterThan(2))
  expect(seen).toBe(null)
  await ada.greet([], "bob")
  expect(ada.socket.of("create")).toEqual([])
  await kept("rows", 3)
  ada.close()
  // in another
  const bob = await Page.open({ userId: "bob" })
  await vi.waitFor(() => expect(bob.rows).toEqual([]))
  expect(bob.client.pending).toBe(0)
  bob.close()
  const again = await Page.open()
  await vi.waitFor(() => expect(again.rows).toEqual(["a: secret", "b: mine"]))
  expect(again.client.pending).toBe(1)
})

it("shows nothing before the server has said who a token belongs to, if the token does not and nobody else has", async () => {
  const token = `e30.${btoa('{"sub":"ada"}')}.x`
  const before = await Page.open({ userId: undefined, token: () => Promise.resolve(token) })
  await before.greet([{ id: "a", title: "secret" }])
  await kept("rows", 1)
  before.close()
  const same = await Page.open({ userId: undefined, token })
  await vi.waitFor(() => expect(same.rows).toEqual(["a: secret"]))
  same.close()
  const other = new Page({ userId: undefined, token: () => Promise.reject(new Error("no network")) })
  other.client.connect().catch(() => {})
  await vi.waitFor(() => expect(other.errors.length).toBeGreaterThan(0))
  expect(other.rows).toBe(null)
})

it("leaves a session whose user the server takes for another", async () => {
  const ada = await Page.open({ userId: undefined, token: "opaque" })
  await ada.greet([{ id: "a", title: "secret" }])
  await kept("rows", 1)
  await ada.cut()
  ada.client.tasks.create({ id: "b", title: "mine" }).catch(() => {})
  await kept("writes", 1)
  ada.close()
  const bob = await Page.open({ userId: undefined, token: "opaque" })
  await vi.waitFor(() => expect(bob.client.pending).toBe(1))
  await bob.greet([], "bob")
  expect(bob.client.pending).toBe(0)
  expect(bob.rows).toEqual([])
  await settle()
  expect(bob.socket.of("create")).toEqual([])
  await kept("writes", 1)
})

it("keeps writes of a first visit that were made before anybody knew by whom, in order", async () => {
  const before = await Page.open({ userId: undefined, token: "opaque" })
  for (const id of ["a", "b", "c"]) before.client.tasks.create({ id }).catch(() => {})
  await before.greet()
  await kept("writes", 3)
  before.close()
  const after = new Page({ userId: undefined, token: "opaque" })
  after.client.connect().catch(() => {})
  after.client.tasks.create({ id: "d" }).catch(() => {}) // before the others are read
  await vi.waitFor(() => expect(after.client.pending).toBe(4))
  await vi.waitFor(() => expect(after.sockets).toHaveLength(1))
  await after.greet()
  await vi.waitFor(() => expect(after.socket.of("create").map(({ entity }) => entity)).toEqual(["a", "b", "c", "d"]))
})

it("lets each tab send its own writes, and another those of a tab that is gone, once", async () => {
  const one = await Page.open()
  await one.greet()
  await one.cut()
  one.client.tasks.create({ id: "a", title: "one" }).catch(() => {})
  await kept("writes", 1)
  const two = await Page.open()
  await two.greet()
  const three = await Page.open()
  await three.greet()
  await (two.client[CORE].keeper as unknown as { takeOver(): Promise<void> }).takeOver()
  expect([two.client.pending, two.socket.of("create")]).toEqual([0, []])
  one.close()
  await vi.waitFor(() => expect(two.socket.of("create").length + three.socket.of("create").length).toBe(1), { timeout: 12_000 })
  const heir = two.socket.of("create").length === 1 ? two : three
  heir.socket.reply(heir.socket.of("create")[0]?.id as number, { data: { id: "a" }, version: 1, conflicts: [] })
  await kept("writes", 0)
})

it("takes over what a tab without Web Locks has left once it has been silent for long", async () => {
  vi.stubGlobal("navigator", {})
  const one = await Page.open()
  await one.greet()
  await one.cut()
  one.client.tasks.create({ id: "a", title: "one" }).catch(() => {})
  await kept("writes", 1)
  one.close()
  const two = await Page.open()
  await settle()
  expect(two.client.pending).toBe(0)
  const [tab] = (await read("writes")) as { tab: string }[]
  await put("tabs", tab?.tab as string, Date.now() - 31_000)
  await two.greet()
  await vi.waitFor(() => expect(two.socket.of("create")).toHaveLength(1), { timeout: 12_000 })
})

it("does not send again what was sent more than a day ago, and says so", async () => {
  const before = await Page.open()
  await before.greet()
  before.client.tasks.create({ id: "a", title: "sent" }).catch(() => {})
  await vi.waitFor(() => expect(before.socket.of("create")).toHaveLength(1))
  before.close()
  const [write] = (await read("writes")) as { at: number; tab: string; sent: number }[]
  expect(write?.sent).toBeGreaterThan(0)
  await put("writes", [SPACE, write?.at, write?.tab] as IDBValidKey, { ...write, sent: Date.now() - 25 * 3_600_000 })
  const after = await Page.open()
  await vi.waitFor(() => expect(after.client.pending).toBe(1))
  await after.greet()
  await vi.waitFor(() => expect(after.errors.at(-1)?.details["request"]).toMatchObject({ entity: "a" }))
  expect(after.errors.at(-1)?.message).toContain("more than a day ago")
  expect(after.socket.of("create")).toEqual([])
  expect(after.client.pending).toBe(0)
  await kept("writes", 0)
})

it.each([0, 30, -30])("does not send again what the server may have forgotten, though the clock of the browser is off by %i hours", async (off) => {
  const HOUR = 3_600_000
  const served = Date.UTC(2026, 4, 1)
  const before = await Page.open()
  await before.greet([], "ada", served)
  before.client.tasks.create({ id: "a", title: "sent" }).catch(() => {})
  await vi.waitFor(() => expect(before.socket.of("create")).toHaveLength(1))
  before.close()
  const now = Date.now()
  vi.spyOn(Date, "now").mockImplementation(() => now + off * HOUR)
  const soon = await Page.open()
  await soon.greet([], "ada", served + 22 * HOUR)
  await vi.waitFor(() => expect(soon.socket.of("create")).toHaveLength(1))
  soon.close()
  const late = await Page.open()
  await late.greet([], "ada", served + 25 * HOUR)
  await vi.waitFor(() => expect(late.errors.at(-1)?.message).toContain("more than a day ago"))
  expect(late.socket.of("create")).toEqual([])
})

it("erases everything when the user signs out, also for other tabs, which end", async () => {
  const [one, two] = [await Page.open(), await Page.open()]
  await one.greet([{ id: "a", title: "secret" }])
  await two.greet([{ id: "a", title: "secret" }])
  await kept("rows", 1)
  await two.cut()
  const lost = two.client.tasks.create({ id: "b" }).catch((error: LumenizeError) => error.code)
  await kept("writes", 1)
  await one.client.signOut()
  expect(one.client.isConnected()).toBe(false)
  expect(await lost).toBe("AUTHENTICATION_FAILED")
  await vi.waitFor(() => expect(two.codes()).toEqual(["AUTHENTICATION_FAILED"]))
  for (const store of ["claims", "spaces", "writes", "items", "rows", "updates"]) expect(await read(store)).toEqual([])
  const after = await Page.open()
  await settle()
  expect([after.client.pending, after.rows]).toEqual([0, null])
})

it("signs out without a connection, and knows a tab that has not heard it", async () => {
  const before = await Page.open()
  await before.greet([{ id: "a", title: "secret" }])
  await kept("rows", 1)
  vi.spyOn(BroadcastChannel.prototype, "postMessage").mockImplementation(() => {})
  const other = new Page()
  await other.client.signOut()
  expect(await read("rows")).toEqual([])
  await before.cut()
  before.client.tasks.create({ id: "b" }).catch(() => {})
  await vi.waitFor(() => expect(before.codes()).toEqual(["AUTHENTICATION_FAILED"]))
  expect(await read("writes")).toEqual([])
})

it("forgets the rows of a list that the user may no longer read", async () => {
  const page = await Page.open()
  await page.greet([{ id: "a", title: "secret" }])
  await kept("rows", 1)
  const [{ subscriptions }] = page.socket.of("subscribe") as unknown as [{ subscriptions: { sub: number }[] }]
  page.socket.say({ type: "failure", sub: subscriptions[0]?.sub as number, error: { code: "PERMISSION_DENIED", message: "no" } })
  await kept("rows", 0)
})

it("keeps aggregates", async () => {
  const before = await Page.open()
  before.client.tasks.subscribeAggregate({ groupBy: "status" }, () => {})
  await before.greet([{ id: "g", group: { status: "open" }, count: 2 }])
  await kept("rows", 2)
  before.close()
  const after = new Page()
  const heard: unknown[] = []
  after.client.tasks.subscribeAggregate({ groupBy: "status" }, (groups) => heard.push(groups[0]?.count))
  after.client.connect().catch(() => {})
  await vi.waitFor(() => expect(heard).toEqual([2]))
})

it("keeps what rows include, with the changes since, and shows own writes beside it", async () => {
  const include = { owner: true, comments: { orderBy: { createdAt: "asc" } } } as const
  const owner = { collection: "users", by: "ownerId", member: "id", one: true, rows: { u1: [{ id: "u1", name: "Ada" }] }, versions: { u1: [2] } }
  const comments = { collection: "comments", by: "id", member: "taskId", rows: { a: [{ id: "c1", taskId: "a" }] }, versions: { a: [4] } }
  const watch = (page: Page): { last: () => unknown } => {
    let last: readonly Row[] = []
    page.client.tasks.subscribe({ include }, (rows) => void (last = rows))
    const names = (row: Row): unknown => [row.id, row.$included?.["owner"]?.name ?? null, row.$included?.["comments"].map(({ id }: Data) => id)]
    return { last: () => last.map(names) }
  }
  const before = await Page.open()
  watch(before)
  await before.greet()
  await vi.waitFor(() => expect(before.socket.of("subscribe").flatMap(({ subscriptions }) => subscriptions as unknown[])).toHaveLength(2))
  const asked = before.socket.of("subscribe").flatMap(({ subscriptions }) => subscriptions as { sub: number }[])
  const sub = asked.find((each) => JSON.stringify(each).includes('"include":'))?.sub as number
  before.socket.say({ type: "rows", sub, rows: [{ id: "a", ownerId: "u1" }], versions: [3], included: { owner, comments } })
  const steps = [{ op: "enter", id: "c2", index: 1, data: { id: "c2", taskId: "a" }, version: 1 }] as const
  before.socket.say({ type: "diff", sub, steps: [], included: [{ relation: "comments", key: "a", steps: [...steps] }] })
  await vi.waitFor(async () => expect(JSON.stringify(await read("rows"))).toContain("c2"), { timeout: 5000 })
  await before.cut()
  before.client.tasks.create({ id: "b", title: "made", ownerId: "u1" }).catch(() => {})
  before.client.comments.create({ id: "c3", taskId: "b" }).catch(() => {})
  await kept("writes", 2)
  before.close()

  const after = await Page.open()
  const { last } = watch(after)
  await vi.waitFor(() => expect(last()).toEqual([["a", "Ada", ["c1", "c2"]], ["b", "Ada", ["c3"]]]))
  expect(after.codes()).toEqual([])
})

it("drops entries that cannot be read, says so, and uses the others", async () => {
  const before = await Page.open()
  await before.greet([{ id: "a", title: "old" }])
  await kept("rows", 1)
  await before.cut()
  before.client.tasks.create({ id: "b", title: "made" }).catch(() => {})
  await kept("writes", 1)
  before.close()
  const database = await openDB(name)
  const [key] = await database.getAllKeys("rows")
  await database.put("rows", "{broken", key)
  await database.put("writes", { space: SPACE, request: 7 }, [SPACE, 1, "x"])
  database.close()
  const after = await Page.open()
  await vi.waitFor(() => expect(after.client.pending).toBe(1))
  await vi.waitFor(() => expect(after.codes()).toContain("STORAGE_FAILED corrupt"))
  await kept("rows", 0)
  await kept("writes", 1)
})

it("leaves a database of a newer version as it is, says so, and goes on in memory", async () => {
  const newer = await openDB(name, 99, { upgrade: (database) => void database.createObjectStore("new") })
  await newer.put("new", "precious", 1)
  newer.close()
  const page = await Page.open()
  await page.greet([{ id: "a", title: "x" }])
  expect(page.codes()).toEqual(["STORAGE_FAILED newer"])
  expect(page.rows).toEqual(["a: x"])
  page.client.tasks.create({ id: "b", title: "y" }).catch(() => {})
  await vi.waitFor(() => expect(page.socket.of("create")).toHaveLength(1))
  await expect(page.client.signOut()).rejects.toMatchObject({ code: "STORAGE_FAILED" })
  expect(await read("new")).toEqual(["precious"])
})

it("lets a newer version of the page upgrade the database, says so, and goes on in memory", async () => {
  const page = await Page.open()
  await page.greet([{ id: "a", title: "x" }])
  await kept("rows", 1)
  const newer = await openDatabase(name, () => {}, [...UPGRADES, (database) => void database.createObjectStore("more" as never)])
  expect(await newer.getAll("rows")).toHaveLength(1)
  newer.close()
  await vi.waitFor(() => expect(page.codes()).toEqual(["STORAGE_FAILED outdated"]))
  page.client.tasks.create({ id: "b", title: "y" }).catch(() => {})
  await vi.waitFor(() => expect(page.socket.of("create")).toHaveLength(1))
})

it("does not wait for a page that holds an older version, and says so", async () => {
  const older = await openDB(name, 1) // does not let go
  await expect(openDatabase(name, () => {}, [...UPGRADES, () => {}], 50)).rejects.toMatchObject({ code: "STORAGE_FAILED", details: { reason: "blocked" } })
  older.close()
})

it("says once that there is no room, sends writes all the same, and keeps them once there is", async () => {
  const page = await Page.open()
  await page.greet()
  await kept("rows", 1)
  const full = vi.spyOn(IDBObjectStore.prototype, "put").mockImplementation(() => {
    throw new DOMException("full", "QuotaExceededError")
  })
  for (const id of ["a", "b"]) page.client.tasks.create({ id }).catch(() => {})
  await vi.waitFor(() => expect(page.socket.of("create")).toHaveLength(2))
  expect(page.codes()).toEqual(["STORAGE_FAILED quota"])
  full.mockRestore()
  page.client.tasks.create({ id: "c" }).catch(() => {})
  await vi.waitFor(() => expect(page.socket.of("create")).toHaveLength(3))
  await page.cut()
  await page.greet()
  await kept("writes", 3)
})

it("says that there is no database in a private window, and goes on in memory", async () => {
  vi.spyOn(indexedDB, "open").mockImplementation(() => {
    throw new DOMException("no", "SecurityError")
  })
  const page = await Page.open()
  await page.greet([{ id: "a", title: "x" }])
  expect(page.codes()).toEqual(["STORAGE_FAILED unavailable"])
  expect(page.rows).toEqual(["a: x"])
  await page.client.signOut()
})

it("keeps no more than the limit, and drops what was used least recently", async () => {
  const page = await Page.open({ persist: { name, maxBytes: 2000 } })
  await page.greet([{ id: "a", title: "x" }])
  await kept("rows", 1)
  for (let n = 0; n < 8; n++) page.client.tasks.subscribe({ where: { n } }, () => {})
  await settle()
  const long = [{ id: "a", title: "x".repeat(300) }]
  for (const { subscriptions } of page.socket.of("subscribe").slice(1)) {
    for (const { sub } of subscriptions as { sub: number }[]) page.socket.say({ type: "rows", sub, rows: long, versions: [1] })
  }
  await vi.waitFor(async () => {
    const items = (await read("items")) as { bytes: number }[]
    expect(items.length).toBeGreaterThan(3)
    expect(items.reduce((all, { bytes }) => all + bytes, 0)).toBeLessThan(2000)
  }, { timeout: 5000 })
})

it("refuses invalid options", () => {
  for (const persist of [1, "yes", { name: 1 }, { maxBytes: 0 }, { size: 1 }]) {
    expect(() => new LumenizeClient({ persist: persist as never })).toThrow(expect.objectContaining({ code: "INVALID_REQUEST" }))
  }
})
