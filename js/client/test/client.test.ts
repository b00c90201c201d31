import { afterEach, beforeEach, expect, it, vi } from "vitest"
import { LumenizeClient } from "../src/index.js"
import type { Data } from "../src/schema.js"
import type { ClientOptions, Conflict } from "../src/types.js"
import { connectedClient, ScriptedSocket, settle } from "./scripted.js"

beforeEach(() => void vi.useFakeTimers())
afterEach(() => {
  vi.restoreAllMocks()
  vi.useRealTimers()
})

type Tasks = LumenizeClient<{ tasks: Data; users: Data }>

function client(options: ClientOptions = {}): Tasks {
  return new LumenizeClient<{ tasks: Data; users: Data }>({ WebSocket: ScriptedSocket.fresh(), ...options })
}

const connected = (options: ClientOptions = {}): Promise<Tasks> => connectedClient<{ tasks: Data; users: Data }>(options)

async function reconnect(): Promise<ScriptedSocket> {
  ScriptedSocket.last.end()
  await vi.advanceTimersByTimeAsync(1000)
  ScriptedSocket.last.welcome()
  await settle()
  return ScriptedSocket.last
}

const written = (id: string, version = 1, conflicts: Conflict[] = [], data: Data = {}) => ({ data: { id, ...data }, version, conflicts })

it.each([
  [undefined, "ws://localhost:8000/realtime"],
  ["https://collab.example.com", "wss://collab.example.com/realtime"],
  ["http://host:1/base/", "ws://host:1/base/realtime"],
  ["ws://host/realtime", "ws://host/realtime"],
])("connects to %s at %s", async (url, expected) => {
  client(url === undefined ? {} : { url }).connect().catch(() => {})
  await settle()
  expect(ScriptedSocket.last.url).toBe(expected)
})

it("has a collection for each name that is not its own, and is no promise", () => {
  const made = client()
  expect(made.tasks.name).toBe("tasks")
  expect(made.tasks).toBe(made.collection("tasks"))
  expect(made.documents).toBe(made.collection<Data>("documents"))
  const odd = made as unknown as Record<string, unknown>
  expect([odd["then"], odd["toJSON"], odd["$$typeof"], odd["__v_isRef"], odd["__v_raw"]]).toEqual(Array(5).fill(undefined))
})

it("says which place of what it is given makes no sense", async () => {
  const made = await connected()
  const tasks = made.tasks as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>
  const refused: [Promise<unknown> | undefined, string][] = [
    [tasks["create"]?.([1]), "must be an object"],
    [tasks["create"]?.(null), "must be an object"],
    [tasks["update"]?.(undefined, { a: 1 }), "an id must be a string"],
    [tasks["update"]?.("t", undefined), "must be an object"],
    [tasks["update"]?.("t", { "profile.city": "x" }), "profile.city: field names cannot contain dots"],
    [tasks["delete"]?.(undefined), "an id must be a string"],
    [tasks["createMany"]?.({ n: 1 }), "the entities must be a list"],
    [tasks["createMany"]?.([{ n: 1 }, 2]), "must be an object"],
    [tasks["createMany"]?.([{ id: "a" }, { id: "a" }]), "tasks/a: an entity may occur once"],
    [tasks["createMany"]?.(Array(1001).fill({})), "1001 writes"],
    [tasks["updateMany"]?.([{ changes: {} }]), "an id must be a string"],
    [tasks["updateMany"]?.([{ id: "a", changes: {}, onconflict: "reject" }]), "unknown option onconflict"],
    [tasks["updateMany"]?.([{ id: "a", changes: { "a.b": 1 } }]), "a.b: field names cannot contain dots"],
    [tasks["deleteMany"]?.("a"), "the ids must be a list"],
    [tasks["deleteMany"]?.([1]), "an id must be a string"],
    [tasks["findById"]?.(undefined), "an id must be a string"],
    [tasks["history"]?.(undefined), "an id must be a string"],
    [tasks["restore"]?.(undefined), "an id must be a string"],
    [made.events.emit(undefined as never), "an event must be an object"],
    [made.events.emit({ type: "done", channels: undefined } as never), "channels: undefined"],
  ]
  for (const [call, message] of refused) {
    await expect(call).rejects.toMatchObject({ code: "INVALID_REQUEST", message: expect.stringContaining(message) as string })
  }
  expect(made.pending).toBe(0)
})

it("has no members but those that are told of: every other name is a collection", () => {
  const made = client() as unknown as Record<string, { name: string }>
  for (const name of ["collections", "core", "latestSchema", "opened"]) expect(made[name]?.name).toBe(name)
  expect((made["collection"] as unknown as (name: string) => { name: string })("toString").name).toBe("toString")
})

it.each(["collab.example.com", "localhost:8000", "ftp://host", "http://"])("takes no %s for the address of a server", (url) => {
  expect(() => client({ url })).toThrow(expect.objectContaining({ code: "INVALID_REQUEST" }))
})

it("names what it creates, and sends dates as texts", async () => {
  const made = await connected()
  const created = made.tasks.create({ title: "x", due: new Date(0) })
  const [said] = ScriptedSocket.last.of("create")
  expect(said).toMatchObject({ collection: "tasks", data: { title: "x", due: "1970-01-01T00:00:00.000Z" } })
  expect(said?.["entity"]).toMatch(/^[0-9A-Za-z]{20}$/)
  expect(said?.["request"]).toMatch(/^[0-9A-Za-z]{20}$/)
  ScriptedSocket.last.reply(said?.id ?? 0, written("t1", 1, [], { title: "x" }))
  expect(await created).toEqual({ id: "t1", title: "x" })
})

it("tells which version it has seen, so that what was begun then is told as such", async () => {
  const made = await connected()
  expect(made.tasks.seen("t1")).toBeUndefined()
  made.tasks.subscribe({}, () => {})
  ScriptedSocket.last.reply(1, [{ sub: 1, cursor: "c" }])
  ScriptedSocket.last.say({ type: "rows", sub: 1, rows: [{ id: "t1" }], versions: [4] })
  expect(made.tasks.seen("t1")).toBe(4)
  ScriptedSocket.last.say({ type: "diff", sub: 1, steps: [{ op: "change", id: "t1", set: { a: 1 }, version: 5 }] })
  expect(made.tasks.seen("t1")).toBe(5)
})

it("tells with an update which version it has seen last", async () => {
  const made = await connected()
  made.tasks.subscribe("*", () => {})
  await settle()
  ScriptedSocket.last.say({ type: "event", subs: [1], cursor: "c", event: { id: "t1", collection: "tasks", version: 7 } as never })
  void made.tasks.update("t1", { a: 1 }, { onConflict: "reject", unset: ["b"] })
  void made.tasks.update("t2", { a: 1 })
  void made.tasks.update("t3", { a: 1 }, { version: 3 })
  expect(ScriptedSocket.last.of("update")).toMatchObject([
    { entity: "t1", changes: { a: 1 }, version: 7, onConflict: "reject", unset: ["b"] },
    { entity: "t2" },
    { entity: "t3", version: 3 },
  ])
  expect(ScriptedSocket.last.of("update")[1]).not.toHaveProperty("version")
})

it("refuses conflicts by default where the application says so once for all", async () => {
  const made = await connected({ conflicts: "reject" })
  void made.tasks.update("t1", { a: 1 })
  void made.tasks.update("t2", { a: 1 }, { onConflict: "merge" })
  expect(ScriptedSocket.last.of("update")).toMatchObject([{ entity: "t1", onConflict: "reject" }, { entity: "t2" }])
  expect(ScriptedSocket.last.of("update")[1]).not.toHaveProperty("onConflict")
})

it("does not count the conflicting version of a refused write as seen", async () => {
  const made = await connected()
  const first = made.tasks.update("t1", { a: 1 }, { version: 1, onConflict: "reject" })
  ScriptedSocket.last.refuse(1, "CONFLICT", { version: 9 })
  await expect(first).rejects.toMatchObject({ code: "CONFLICT", details: { version: 9 } })
  void made.tasks.update("t1", { a: 1 })
  expect(ScriptedSocket.last.of("update")[1]).not.toHaveProperty("version")
})

it("tells of conflicts that a write met", async () => {
  const met: unknown[] = []
  const made = await connected({ onConflict: (conflicts, where) => met.push([conflicts, where]) })
  const conflict: Conflict = { field: "a", base: 0, theirs: 1, yours: 2, winner: "yours", userId: null, at: null }
  const update = made.tasks.update("t1", { a: 2 })
  ScriptedSocket.last.reply(1, written("t1", 3, [conflict]))
  await update
  expect(met).toEqual([[[conflict], { collection: "tasks", id: "t1" }]])
})

it("shows a write at once, and what it was when it is refused", async () => {
  const made = await connected()
  const shown: Data[][] = []
  made.tasks.subscribe({ where: { done: false }, orderBy: { createdAt: "desc" } }, (rows) => shown.push(rows))
  await settle()
  ScriptedSocket.last.say({ type: "rows", sub: 1, rows: [{ id: "a", done: false, createdAt: "2024-01-01T00:00:00.000Z" }], versions: [1] })
  const created = made.tasks.create({ id: "b", done: false })
  expect(shown.at(-1)?.map((row) => row["id"] as string)).toEqual(["b", "a"])
  expect(made.isPending("tasks", "b")).toBe(true)
  ScriptedSocket.last.refuse(2, "VALIDATION_FAILED")
  await expect(created).rejects.toMatchObject({ code: "VALIDATION_FAILED" })
  expect(shown.at(-1)?.map((row) => row["id"] as string)).toEqual(["a"])
})

it("shows a confirmed write until the list is told of it, however long that takes, and asks for it when that is late", async () => {
  const made = await connected()
  const shown: unknown[] = []
  made.tasks.subscribe({}, (rows) => rows[0]?.["done"] !== shown.at(-1) && shown.push(rows[0]?.["done"]))
  await settle()
  const { last } = ScriptedSocket
  last.reply(1, [{ sub: 1 }])
  last.say({ type: "rows", sub: 1, rows: [{ id: "a", done: false }], versions: [1] })
  void made.tasks.update("a", { done: true })
  last.reply(2, written("a", 2, [], { done: true }))
  await vi.advanceTimersByTimeAsync(10_000)
  expect(shown).toEqual([false, true])
  expect(last.of("unsubscribe")).toHaveLength(1)
  expect(last.of("subscribe")).toHaveLength(2)
  last.say({ type: "rows", sub: 2, rows: [{ id: "a", done: true }], versions: [2] })
  await vi.advanceTimersByTimeAsync(10_000)
  expect(shown).toEqual([false, true])
  expect(last.of("subscribe")).toHaveLength(2)
})

it("shows no more what somebody has deleted or taken before the own creation was confirmed here", async () => {
  const made = await connected()
  const shown: string[] = []
  made.tasks.subscribe({ where: { owner: null } }, (rows) => {
    const ids = rows.map(({ id }) => id).join()
    if (ids !== shown.at(-1)) shown.push(ids)
  })
  await settle()
  const { last } = ScriptedSocket
  last.reply(1, [{ sub: 1 }])
  last.say({ type: "rows", sub: 1, rows: [], versions: [] })
  void made.tasks.create({ id: "a" })
  last.say({ type: "diff", sub: 1, steps: [{ op: "enter", id: "a", index: 0, data: { id: "a" }, version: 1 }] })
  last.say({ type: "diff", sub: 1, steps: [{ op: "leave", id: "a" }] })
  last.reply(2, written("a", 1))
  await settle()
  expect(shown).toEqual(["", "a", ""])
  await vi.advanceTimersByTimeAsync(10_000)
  expect(shown).toHaveLength(3)
})

it("counts what it creates as newer than all that it was told, in the order of making, whatever its clock says", async () => {
  const made = await connected()
  vi.setSystemTime(Date.UTC(2030, 0, 1))
  let shown: unknown[] = []
  made.tasks.subscribe({ orderBy: { createdAt: "desc" }, limit: 3 }, (rows) => (shown = rows.map(({ id }) => id)))
  await settle()
  const rows = ["a", "b", "c"].map((id, index) => ({ id, createdAt: `2030-01-01T00:10:0${9 - index}.000Z` }))
  ScriptedSocket.last.say({ type: "rows", sub: 1, rows, versions: [1, 1, 1] })
  void made.tasks.create({ id: "z" })
  expect(shown).toEqual(["z", "a", "b"])
  void made.tasks.create({ id: "y" })
  expect(shown).toEqual(["y", "z", "a"])
})

it("shows what the server made of a write that met another", async () => {
  const made = await connected()
  let shown: unknown
  made.tasks.subscribe({}, (rows) => (shown = rows[0]?.["n"]))
  await settle()
  ScriptedSocket.last.say({ type: "rows", sub: 1, rows: [{ id: "a", n: 1 }], versions: [1] })
  void made.tasks.update("a", { n: 2 })
  expect(shown).toBe(2)
  ScriptedSocket.last.reply(2, written("a", 3, [], { n: 5 }))
  expect(shown).toBe(5)
})

it("hands out nothing that can be changed for others, or for itself", async () => {
  const made = await connected()
  const heard: Data[] = []
  const changing = (value: Data): void => {
    heard.push(value)
    expect(() => ((value["data"] as Data)["cents"] = 0)).toThrow(TypeError)
  }
  made.tasks.subscribe("*", changing)
  made.tasks.subscribe("*", changing)
  made.tasks.subscribe({}, (rows) => {
    heard.push(rows[0] as Data)
    expect(() => ((rows[0] as Data)["data"] = 0)).toThrow(TypeError)
    rows.length = 0
  })
  await settle()
  const { last } = ScriptedSocket
  last.say({ type: "event", subs: [1, 2], cursor: "c", event: { id: "a", version: 1, data: { cents: 1000 } } as never })
  last.say({ type: "rows", sub: 3, rows: [{ id: "a", data: { cents: 1000 } }], versions: [1] })
  last.say({ type: "diff", sub: 3, steps: [{ op: "change", id: "a", set: { n: 1 }, version: 2 }] })
  expect(heard).toMatchObject([{ data: { cents: 1000 } }, { data: { cents: 1000 } }, { data: { cents: 1000 } }, { data: { cents: 1000 }, n: 1 }])
  let shown: Data = {}
  made.tasks.subscribe({ orderBy: { n: "asc" } }, (rows) => (shown = rows[0] as Data))
  await settle()
  last.say({ type: "rows", sub: 4, rows: [{ id: "a", tags: ["x"] }], versions: [1] })
  const update = made.tasks.update("a", { tags: ["y"] })
  last.reply(last.of("update")[0]?.id as number, written("a", 3, [], { tags: ["y"] }))
  ;((await update)["tags"] as string[]).push("mine alone")
  expect(shown["tags"]).toEqual(["y"])
})

it("shows nothing that is not confirmed if it shall not", async () => {
  const made = await connected({ optimistic: false })
  const shown: Data[][] = []
  made.tasks.subscribe({}, (rows) => shown.push(rows))
  await settle()
  ScriptedSocket.last.say({ type: "rows", sub: 1, rows: [], versions: [] })
  void made.tasks.create({ id: "b" })
  expect(shown).toEqual([[]])
})

it("keeps writes while there is no connection, and says so", async () => {
  const made = client()
  const counts: number[] = []
  made.onPending((count) => counts.push(count))
  void made.tasks.create({ id: "a" })
  void made.tasks.delete("a")
  const saved = made.saved()
  expect(made.pending).toBe(2)
  made.connect().catch(() => {})
  await settle()
  ScriptedSocket.last.welcome()
  expect(ScriptedSocket.last.sent.map(({ type }) => type)).toEqual(["hello", "create"])
  ScriptedSocket.last.reply(1, written("a"))
  await settle()
  expect(ScriptedSocket.last.sent.at(-1)?.type).toBe("delete")
  ScriptedSocket.last.reply(2, written("a", 2))
  await saved
  expect(counts).toEqual([1, 2, 1, 0])
})

it("begins each session with channels, then subscriptions, presence, and what was not answered, each once", async () => {
  const made = await connected()
  void made.events.join("team")
  void made.presence.join("d1", { cursor: 1 })
  made.tasks.subscribe("*", () => {})
  await settle()
  for (const { id, type } of ScriptedSocket.last.sent) {
    if (type === "subscribe") ScriptedSocket.last.reply(id, [{ sub: 1, cursor: "c" }])
    else if (type !== "hello") ScriptedSocket.last.reply(id)
  }
  void made.presence.update("d1", { typing: true })
  void made.tasks.update("t", { a: 1 })
  const next = await reconnect()
  expect(next.sent.map(({ type }) => type)).toEqual(["hello", "joinChannel", "subscribe", "joinPresence", "update"])
  expect(next.of("joinPresence")).toMatchObject([{ state: { cursor: 1, typing: true } }])
  void made.events.leave("team")
  void made.presence.leave("d1")
  expect((await reconnect()).sent.map(({ type }) => type)).toEqual(["hello", "subscribe", "update"])
})

it("does not join again what it was refused, or only updated", async () => {
  const made = await connected()
  const joined = made.presence.join("d1")
  ScriptedSocket.last.refuse(1, "PERMISSION_DENIED")
  await expect(joined).rejects.toMatchObject({ code: "PERMISSION_DENIED" })
  void made.presence.update("d2", { a: 1 })
  expect((await reconnect()).sent.map(({ type }) => type)).toEqual(["hello"])
})

it("joins again, after a moment, what could not be joined on a new connection", async () => {
  const made = await connected()
  void made.presence.join("d1", { a: 1 })
  void made.presence.join("d2", { a: 1 })
  for (const { id } of ScriptedSocket.last.of("joinPresence")) ScriptedSocket.last.reply(id as number)
  await settle()
  const next = await reconnect()
  for (const { id } of next.of("joinPresence")) next.refuse(id as number, "UNAVAILABLE", {}, true)
  await settle()
  void made.presence.leave("d2")
  await vi.advanceTimersByTimeAsync(1000)
  expect(next.of("joinPresence").map(({ room }) => room)).toEqual(["d1", "d2", "d1"])
})

it("keeps a join that was cut off, without an error", async () => {
  const made = await connected()
  const joined = made.events.join("team")
  const next = await reconnect()
  await joined
  expect(next.of("joinChannel")).toHaveLength(1)
})

it("emits again what was cut off, under the same name, and nothing without a connection", async () => {
  const made = await connected()
  const emitted = made.events.emit({ type: "x" })
  await settle()
  const first = ScriptedSocket.last.of("emit")
  const next = await reconnect()
  expect(first).toMatchObject([{ request: expect.stringMatching(/^[\w-]{8,64}$/) as string }])
  expect(next.of("emit")).toEqual(first)
  next.reply(first[0]?.id as number)
  await emitted
  await made.disconnect()
  await expect(made.events.emit({ type: "x" })).rejects.toMatchObject({ code: "CONNECTION_LOST" })
})

it("makes no uncaught error of a signal that nobody awaits", async () => {
  const uncaught = vi.fn()
  process.on("unhandledRejection", uncaught)
  const made = await connected()
  void made.events.emit({ type: "x" })
  void made.presence.join("d")
  ScriptedSocket.last.refuse(1, "PERMISSION_DENIED")
  ScriptedSocket.last.refuse(2, "PERMISSION_DENIED")
  vi.useRealTimers()
  await new Promise((resolve) => setImmediate(resolve))
  process.off("unhandledRejection", uncaught)
  expect(uncaught).not.toHaveBeenCalled()
})

it("tells connections, and each error of one once", async () => {
  const made = client()
  const log: unknown[] = []
  made.onConnect(() => log.push("connect"))
  made.onReconnect(() => log.push("reconnect"))
  made.onDisconnect((error) => log.push(["disconnect", error?.code ?? null]))
  made.onError((error) => log.push(["error", error.type]))
  made.connect().catch(() => {})
  await settle()
  ScriptedSocket.last.welcome()
  await reconnect()
  ScriptedSocket.last.say({ type: "failure", error: { code: "AUTHENTICATION_FAILED", message: "expired" } })
  ScriptedSocket.last.end(4401)
  await settle()
  expect(log).toEqual([
    "connect",
    ["disconnect", "CONNECTION_LOST"],
    ["error", "CONNECTION_LOST"],
    "reconnect",
    ["disconnect", "AUTHENTICATION_FAILED"],
    ["error", "AUTHENTICATION_FAILED"],
  ])
})

it("sends the version of when a form opened, though a live query has shown newer ones", async () => {
  const made = await connected()
  made.tasks.subscribe("*", () => {})
  await settle()
  const subscribed = ScriptedSocket.last.of("subscribe")[0] as unknown as { subscriptions: { sub: number }[] }
  const told = (version: number): void => {
    ScriptedSocket.last.say({
      type: "event", sub: subscribed.subscriptions[0]?.sub, cursor: `c${version}`,
      event: { position: version, type: "updated", collection: "tasks", id: "t", version, data: { id: "t" }, changes: {}, userId: null, at: "", conflicts: [] },
    } as never)
  }
  told(3)
  const version = made.tasks.seen("t")
  told(4)
  expect([version, made.tasks.seen("t")]).toEqual([3, 4])
  made.tasks.update("t", { title: "x" }, { version: version as number, onConflict: "reject" }).catch(() => {})
  await settle()
  expect(ScriptedSocket.last.of("update")[0]).toMatchObject({ version: 3, onConflict: "reject" })
})

it("calls onReconnectFailed once the attempts are used up, not for an error that stays", async () => {
  const onReconnectFailed = vi.fn()
  const made = await connected({ websocket: { maxAttempts: 1, onReconnectFailed } })
  ScriptedSocket.last.end(4403)
  expect(onReconnectFailed).not.toHaveBeenCalled()
  vi.stubGlobal("fetch", () => Promise.reject(new TypeError("fetch failed")))
  made.connect().catch(() => {})
  await settle()
  ScriptedSocket.last.end()
  await vi.advanceTimersByTimeAsync(1000)
  ScriptedSocket.last.end()
  await settle()
  expect(onReconnectFailed).toHaveBeenCalledOnce()
})

it("leaves no read without an answer when nobody tries any more", async () => {
  const made = await connected()
  const read = made.tasks.findMany()
  await made.disconnect()
  await expect(read).rejects.toMatchObject({ code: "CONNECTION_LOST" })
  await expect(made.tasks.count()).rejects.toMatchObject({ code: "CONNECTION_LOST" })
})

it("shows the next token before the last one ends", async () => {
  const jwt = (exp: number): string => `h.${Buffer.from(JSON.stringify({ exp })).toString("base64url")}.s`
  const now = Date.now() / 1000
  const tokens = [jwt(now + 100), jwt(now + 5000)]
  await connected({ userId: "u", websocket: { heartbeatInterval: 0 }, token: () => tokens.shift() ?? "none" })
  await vi.advanceTimersByTimeAsync(69_000)
  expect(ScriptedSocket.last.of("authenticate")).toEqual([])
  await vi.advanceTimersByTimeAsync(2000)
  expect(ScriptedSocket.last.of("authenticate")).toMatchObject([{ token: jwt(now + 5000), userId: "u" }])
})

it("keeps the credentials that it has when the next ones are refused", async () => {
  const made = await connected({ token: "good" })
  const shown = made.authenticate({ token: "bad" })
  await settle()
  ScriptedSocket.last.refuse(1, "AUTHENTICATION_FAILED")
  await expect(shown).rejects.toMatchObject({ code: "AUTHENTICATION_FAILED" })
  expect((await reconnect()).sent[0]).toMatchObject({ token: "good" })
  const good = made.authenticate({ token: "better" })
  await settle()
  ScriptedSocket.last.reply(2)
  await good
  expect((await reconnect()).sent[0]).toMatchObject({ token: "better" })
})

it("makes a batch with one message, all or nothing", async () => {
  const made = await connected()
  const heard: unknown[] = []
  const batch = made.createSubscriptionBatch()
  batch.add("tasks", { where: {} }, (rows) => heard.push(rows)).add("users", "*", (event) => heard.push(event))
  const executed = batch.execute()
  await settle()
  expect(ScriptedSocket.last.of("subscribe")).toHaveLength(1)
  ScriptedSocket.last.reply(1, [{ sub: 1, cursor: "c" }, { sub: 2, cursor: "c" }])
  const unsubscribe = await executed
  unsubscribe()
  await settle()
  expect(ScriptedSocket.last.of("unsubscribe").map(({ subs }) => subs)).toEqual([[1, 2]])
  batch.add("tasks", "*", () => {}).add("users", "*", () => {}, { onError: () => {} })
  const refused = batch.execute()
  refused.catch(() => {})
  await settle()
  ScriptedSocket.last.reply(3, [{ sub: 3, cursor: "c" }, { sub: 4, error: { code: "PERMISSION_DENIED", message: "no" } }])
  await expect(refused).rejects.toMatchObject({ code: "PERMISSION_DENIED" })
  await settle()
  expect(ScriptedSocket.last.of("unsubscribe").at(-1)).toMatchObject({ subs: [3] })
})

it("keeps the schema that was read last", async () => {
  const made = await connected()
  expect(made.schema).toBeNull()
  const read = made.refreshSchema()
  ScriptedSocket.last.reply(1, { tasks: { version: 1 } })
  expect(await read).toEqual({ tasks: { version: 1 } })
  expect(made.schema).toEqual({ tasks: { version: 1 } })
})

it("passes each subscription's own options on", async () => {
  const made = await connected()
  made.tasks.subscribe("t1", () => {}, { fields: ["status"], includePermissions: true })
  made.tasks.subscribe({ where: { at: { gte: new Date(0) } }, condition: () => true }, () => {}, { fields: ["id"], includePermissions: false })
  made.presence.subscribe("d1", () => {})
  made.analytics.subscribe("active_users", () => {})
  made.system.subscribe("health", () => {})
  made.events.subscribe("x", () => {})
  await settle()
  expect((ScriptedSocket.last.of("subscribe")[0]?.["subscriptions"] as { target: unknown }[]).map(({ target }) => target)).toEqual([
    { kind: "entities", collection: "tasks", entity: "t1", fields: ["status"], includePermissions: true },
    { kind: "rows", collection: "tasks", query: { where: { at: { gte: "1970-01-01T00:00:00.000Z" } } }, fields: ["id"] },
    { kind: "presence", room: "d1" },
    { kind: "analytics", metric: "active_users" },
    { kind: "system", event: "health" },
    { kind: "custom", event: "x" },
  ])
})

it("subscribes before it asks for what the subscription is to hear of", async () => {
  const made = await connected()
  made.events.subscribe("x", () => {})
  void made.events.emit({ type: "x" })
  made.tasks.subscribe("*", () => {})
  void made.tasks.create({})
  expect(ScriptedSocket.last.sent.map(({ type }) => type)).toEqual(["hello", "subscribe", "emit", "subscribe", "create"])
  await settle()
  expect(ScriptedSocket.last.of("subscribe")).toHaveLength(2)
})

it("asks for many subscriptions in several messages, each once and in order", async () => {
  const made = await connected()
  for (let n = 0; n < 600; n += 1) made.events.subscribe(`x${n}`, () => {})
  void made.tasks.count()
  const asked = ScriptedSocket.last.of("subscribe").map(({ subscriptions }) => subscriptions as { target: { event: string } }[])
  expect(asked.map(({ length }) => length)).toEqual([256, 256, 88])
  expect(asked.flat().map(({ target }) => target.event)).toEqual(Array.from({ length: 600 }, (_, n) => `x${n}`))
})

it("is a LumenizeClient", () => {
  expect(client()).toBeInstanceOf(LumenizeClient)
  expect({}).not.toBeInstanceOf(LumenizeClient)
})

it("says when a subscription is in force, or why it is not", async () => {
  const made = await connected()
  const [good, bad] = [made.tasks.subscribe("*", () => {}), made.events.subscribe("x", () => {}, { onError: () => {} })]
  await settle()
  ScriptedSocket.last.reply(1, [{ sub: 1, cursor: "c" }, { sub: 2, error: { code: "PERMISSION_DENIED", message: "no" } }])
  await good.ready
  await expect(bad.ready).rejects.toMatchObject({ code: "PERMISSION_DENIED" })
})

it("does not send what one user has written as another's, and keeps it for the same one", async () => {
  const made = client()
  const login = async (userId: string | null): Promise<ScriptedSocket> => {
    const connecting = made.connect(userId === null ? {} : { userId })
    await settle()
    ScriptedSocket.last.welcome({}, userId)
    await connecting
    return ScriptedSocket.last
  }
  made.tasks.delete("a").catch(() => {})
  await login(null)
  await made.disconnect()
  // written before there was a user, it is the user's
  expect((await login("ada")).of("delete")).toHaveLength(1)
  await made.disconnect()
  expect((await login("ada")).of("delete")).toHaveLength(1)
  await made.disconnect()
  const mine = made.tasks.delete("b")
  const refused = expect(mine).rejects.toMatchObject({ code: "AUTHENTICATION_FAILED" })
  expect((await login("bob")).of("delete")).toEqual([])
  await refused
  expect(made.pending).toBe(0)
})

it("says which package is missing where there is no WebSocket", async () => {
  vi.stubGlobal("WebSocket", undefined)
  vi.doMock("ws", () => {
    throw new Error("Cannot find package 'ws'")
  })
  try {
    await expect(new LumenizeClient().connect()).rejects.toMatchObject({ code: "INVALID_REQUEST", message: expect.stringContaining("install the package ws") as string })
  } finally {
    vi.doUnmock("ws")
  }
})

it("says of each read and write in which trace of the application it is", async () => {
  vi.spyOn(console, "error").mockImplementation(() => {})
  const spans: (string | undefined | (() => never))[] = []
  const traceparent = (): string | undefined => {
    const span = spans.shift()
    return typeof span === "function" ? span() : span
  }
  const made = await connected({ traceparent })
  const fails = (): never => {
    throw new Error("no span")
  }
  spans.push("00-1", "00-2", undefined, fails, "\ud800")
  void made.tasks.create({ id: "a" })
  void made.tasks.findById("b")
  void made.tasks.count()
  void made.tasks.create({ id: "c" })
  void made.tasks.create({ id: "d" })
  await settle()
  const sent = ScriptedSocket.last.sent as unknown as Data[]
  expect(sent.slice(-5).map(({ type, traceparent: span }) => [type, span])).toEqual([["create", "00-1"], ["findById", "00-2"], ["count", undefined], ["create", undefined], ["create", undefined]])
})
