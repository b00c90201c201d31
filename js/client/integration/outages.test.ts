import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest"
import type { Collection, CustomEvent, LumenizeClient } from "../src/index.js"
import type { Data } from "../src/schema.js"
import type { EntityEvent, Person } from "../src/types.js"
import { codes, fresh, log, until, World, type Network, type Tasks } from "./world.js"

let world: World
let network: Network
let name: "tasks"
beforeAll(async () => {
  world = await World.start()
})
beforeEach(async () => {
  network = await world.network()
  name = fresh()
})
afterEach(() => world.leave())
afterAll(() => world.end())

const tasks = (client: LumenizeClient<Tasks>): Collection => client.collection(name)

it("misses no event of a cut, and tells none twice", async () => {
  const [client, other] = [await world.connected({ url: network.url }), await world.connected()]
  const [events, resumed, rows] = [log<EntityEvent>(), log<boolean>(), log<Data[]>()]
  await tasks(client).subscribe("*", events.add, { onResume: resumed.add }).ready
  tasks(client).subscribe({ orderBy: { n: "asc" } }, rows.add)
  await tasks(other).create({ id: "t0", n: 0 })
  await until(() => events.length === 1)
  network.cut()
  await until(() => !client.isConnected())
  for (let n = 1; n <= 5; n += 1) await tasks(other).create({ id: `t${n}`, n })
  await tasks(other).update("t0", { n: -1 })
  network.mend()
  await until(() => events.length === 7 && rows.last?.length === 6)
  expect(events.map(({ id, version }) => `${id}.${version}`)).toEqual(["t0.1", "t1.1", "t2.1", "t3.1", "t4.1", "t5.1", "t0.2"])
  expect(rows.last?.[0]).toMatchObject({ id: "t0", n: -1 })
  expect(resumed).toEqual([true])
})

it("makes each write of an outage once, in order, whenever the connection breaks", async () => {
  const client = await world.connected({ url: network.url })
  const errors: unknown[] = []
  let made = 0
  const write = (promise: Promise<unknown>): void => void promise.then(() => (made += 1), (error: unknown) => errors.push(error))
  write(tasks(client).create({ id: "t", steps: 0 }))
  for (let round = 1; round <= 8; round += 1) {
    for (let n = 1; n <= 10; n += 1) {
      write(tasks(client).update("t", { steps: (round - 1) * 10 + n }))
      write(tasks(client).create({ id: `r${round}-${n}` }))
    }
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 30))
    network.cut()
    await until(() => !client.isConnected())
    network.mend()
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 60))
  }
  await client.saved()
  await until(() => made === 161)
  expect([errors, client.pending]).toEqual([[], 0])
  expect(await tasks(client).count()).toBe(81)
  const history = await tasks(client).history("t", { limit: 200 })
  expect(history.map(({ version }) => version)).toEqual(Array.from({ length: 81 }, (_, index) => 81 - index))
  expect(history.slice(0, -1).map(({ data }) => data["steps"] as number)).toEqual(Array.from({ length: 80 }, (_, index) => 80 - index))
  expect(history.flatMap(({ conflicts }) => conflicts)).toEqual([])
}, 60_000)

it("shows what was written without a connection, and says that it is not saved", async () => {
  const client = await world.connected({ url: network.url })
  const rows = log<Data[]>()
  tasks(client).subscribe({ where: { done: false } }, rows.add)
  await until(() => rows.last)
  network.cut()
  await until(() => !client.isConnected())
  void tasks(client).create({ id: "a", done: false })
  void tasks(client).update("a", { title: "x" })
  expect(rows.last).toMatchObject([{ id: "a", done: false, title: "x" }])
  expect([client.pending, client.isPending(name, "a")]).toEqual([2, true])
  const read = tasks(client).findById("a")
  network.mend()
  await client.saved()
  expect(client.isPending(name, "a")).toBe(false)
  expect(await read).toMatchObject({ title: "x" })
})

it("outlives a server that restarts, and one that is killed", async () => {
  const client = await world.connected()
  const [events, rows, log_] = [log<EntityEvent>(), log<Data[]>(), log<string>()]
  client.onDisconnect((error) => log_.add(`lost ${error?.code}`))
  client.onReconnect(() => log_.add("back"))
  client.onConnect(() => log_.add("never"))
  tasks(client).subscribe("*", events.add)
  tasks(client).subscribe({}, rows.add)
  await tasks(client).create({ id: "a" })
  for (const end of [() => world.stop(), () => world.kill()]) {
    const before = log_.length
    await end()
    await until(() => !client.isConnected())
    void tasks(client).create({ id: `while-away-${before}` })
    await world.again()
    await client.saved()
    await until(() => log_.length === before + 2)
    await tasks(client).create({ id: `after-${before}` })
  }
  await until(() => events.length === 5 && rows.last?.length === 5)
  expect(log_).toEqual(["lost CONNECTION_LOST", "back", "lost CONNECTION_LOST", "back"])
})

it("takes custom events and presence up again, by the channels it had joined", async () => {
  const [client, other] = [await world.connected({ url: network.url, userId: "ada" }), await world.connected({ userId: "bob" })]
  const [events, people] = [log<CustomEvent>(), log<Person[]>()]
  client.events.subscribe("x", events.add)
  await client.events.join("team")
  await client.presence.join(name, { cursor: 1 })
  other.presence.subscribe(name, people.add)
  await until(() => people.last?.length === 1)
  await other.events.emit({ type: "x", n: 1, channels: ["team"] })
  await until(() => events.length === 1)
  network.cut()
  await until(() => people.last?.length === 0)
  await other.events.emit({ type: "x", n: 2, channels: ["team"] })
  await other.events.emit({ type: "x", n: 3 })
  network.mend()
  await until(() => events.length === 3 && people.last?.length === 1)
  expect(events.map(({ n }) => n as number)).toEqual([1, 2, 3])
  expect(people.last?.[0]).toMatchObject({ cursor: 1 })
})

it("finds out that nobody answers any more", async () => {
  const client = await world.connected({ url: network.url, websocket: { heartbeatInterval: 200, heartbeatTimeout: 200 } })
  const errors = codes(client)
  network.swallow()
  await until(() => !client.isConnected())
  network.cut()
  network.mend()
  await until(() => client.isConnected())
  expect(errors).toEqual(["CONNECTION_LOST"])
})

it("gives up where it may make only so many attempts", async () => {
  await world.stop()
  let failed = 0
  const client = world.client({ websocket: { maxAttempts: 2, onReconnectFailed: () => (failed += 1) } })
  await expect(client.connect()).rejects.toMatchObject({ code: "CONNECTION_LOST" })
  expect(failed).toBe(1)
  await world.again()
  await client.connect()
  expect(await tasks(client).count()).toBe(0)
})

it("slows down when it writes faster than the server takes, and loses nothing", async () => {
  const slow = await World.start({ writes_per_second: 10 })
  try {
    const client = await slow.connected()
    const errors = codes(client)
    await Promise.all(Array.from({ length: 130 }, (_, n) => tasks(client).create({ id: `t${n}` })))
    expect(await tasks(client).count()).toBe(130)
    expect(new Set(errors)).toEqual(new Set(["RATE_LIMIT_EXCEEDED"]))
  } finally {
    await slow.end()
  }
}, 30_000)

it("refuses a write that is too large by itself, and goes on", async () => {
  const small = await World.start({ max_message_bytes: 4096 })
  try {
    const client = await small.connected()
    await expect(tasks(client).create({ text: "x".repeat(5000) })).rejects.toMatchObject({ code: "INVALID_REQUEST", details: { limit: 4096 } })
    await tasks(client).create({ text: "x" })
  } finally {
    await small.end()
  }
})

it("lets Node end after disconnect, with a document open, and uses the package ws where there is no WebSocket", async () => {
  const script = `
    delete globalThis.WebSocket
    const { LumenizeClient } = await import("@lumenize/client")
    const client = new LumenizeClient({ url: process.argv[1] })
    await client.connect()
    client.tasks.subscribe("*", () => {})
    await client.tasks.create({ a: 1 })
    const open = await client.documents.open("d")
    await open.synced
    await client.disconnect()
    console.log("done")`
  const folder = fileURLToPath(new URL("..", import.meta.url))
  const child = spawn(process.execPath, ["--input-type=module", "-e", script, world.url], { cwd: folder })
  let output = ""
  child.stdout.on("data", (data) => (output += String(data)))
  child.stderr.on("data", (data) => (output += String(data)))
  const code = await new Promise((resolve) => child.on("exit", resolve))
  expect([output.trim(), code]).toEqual(["done", 0])
})
