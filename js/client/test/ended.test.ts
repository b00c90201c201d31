/** A connection that has ended for good: whoever depends on it is told. */
import { afterEach, beforeEach, expect, it, vi } from "vitest"
import { LumenizeClient, queryStore, type LumenizeError } from "../src/index.js"
import { connectionStore, presenceStore } from "../src/stores/index.js"
import type { ClientOptions } from "../src/types.js"
import { ScriptedSocket, settle } from "./scripted.js"

beforeEach(() => void vi.useFakeTimers())
afterEach(() => {
  vi.restoreAllMocks()
  vi.useRealTimers()
})

const made = (options: ClientOptions = {}): LumenizeClient => new LumenizeClient({ WebSocket: ScriptedSocket.fresh(), apiKey: "wrong", ...options })

async function refuse(): Promise<void> {
  await settle()
  ScriptedSocket.last.end(4401, "no such key")
  await settle()
}

const wrong = expect.objectContaining({ code: "AUTHENTICATION_FAILED", message: "no such key" }) as LumenizeError

it("is told to connects, reads, subscriptions, batches, stores and callbacks", async () => {
  const client = made()
  const told: string[] = []
  const tasks = client.collection("tasks")
  client.onError(({ code }) => told.push(`client ${code}`))
  const plain = tasks.subscribe({}, () => {})
  tasks.subscribe("*", () => {}, { onError: ({ code }) => told.push(`subscription ${code}`) })
  const batch = client.createSubscriptionBatch().add("tasks", {}, () => {}).execute()
  const stores = [queryStore(client, "tasks"), presenceStore(client, "d")]
  for (const store of stores) store.subscribe(() => {})
  let changes = 0
  const connection = connectionStore(client)
  connection.subscribe(() => (changes += 1))
  const waiting = [client.connect(), tasks.findMany(), plain.ready, batch]
  const refused = Promise.allSettled(waiting)
  await refuse()
  expect(await refused).toEqual(waiting.map(() => ({ status: "rejected", reason: wrong })))
  for (const store of stores) expect(store.getSnapshot()).toMatchObject({ loading: false, error: wrong })
  expect(connection.getSnapshot().state).toBe("offline")
  expect(changes).toBeGreaterThan(0)
  expect(told).toEqual(["client AUTHENTICATION_FAILED", "subscription AUTHENTICATION_FAILED"])
})

it("is told to who subscribes afterwards, and subscriptions are in force once somebody connects", async () => {
  const client = made()
  client.onError(() => {})
  const before = queryStore(client, "tasks")
  before.subscribe(() => {})
  void client.connect()
  await refuse()
  const told: LumenizeError[] = []
  const late = client.collection("tasks").subscribe({ limit: 1 }, () => {}, { onError: (error) => told.push(error) })
  await expect(late.ready).rejects.toEqual(wrong)
  expect(told).toEqual([wrong])
  const connected = client.connect({ token: "right" })
  await settle()
  ScriptedSocket.last.welcome()
  await connected
  const [first] = ScriptedSocket.last.of("subscribe")
  const subs = (first?.["subscriptions"] as { sub: number }[]).map(({ sub }) => sub)
  for (const sub of subs) ScriptedSocket.last.say({ type: "rows", sub, rows: [{ id: "a" }], versions: [1] })
  expect(before.getSnapshot()).toEqual({ data: [{ id: "a" }], loading: false, error: null })
})

it("is no end for a listener that connects again at once", async () => {
  const client = made()
  const tasks = client.collection("tasks")
  client.onError(({ code }) => void (code === "AUTHENTICATION_FAILED" && client.connect({ token: "right" })))
  client.connect().catch(() => {})
  const heard: unknown[] = []
  tasks.subscribe({}, (rows) => heard.push(rows))
  await refuse()
  ScriptedSocket.last.welcome()
  await settle()
  const read = tasks.findMany()
  await settle()
  expect(client.isConnected()).toBe(true)
  await client.disconnect()
  await expect(read).rejects.toMatchObject({ code: "CONNECTION_LOST" })
})

it("is told when the attempts are used up, too", async () => {
  const client = made({ websocket: { maxAttempts: 0 } })
  client.onError(() => {})
  const store = queryStore(client, "tasks")
  store.subscribe(() => {})
  const { ready } = client.collection("tasks").subscribe("*", () => {})
  void client.connect()
  await settle()
  ScriptedSocket.last.end(1006)
  await expect(ready).rejects.toMatchObject({ code: "CONNECTION_LOST" })
  expect(store.getSnapshot()).toMatchObject({ loading: false, error: { code: "CONNECTION_LOST" } })
})

it("leaves no promise behind that waits for a connection that somebody has ended", async () => {
  const client = made()
  const { ready } = client.collection("tasks").subscribe("*", () => {})
  void client.connect()
  await client.disconnect()
  await expect(ready).rejects.toMatchObject({ code: "CONNECTION_LOST", message: "disconnected" })
})

it("is no unhandled rejection of a connect that nobody awaits: listeners are told, or the console", async () => {
  const warned = vi.spyOn(console, "warn").mockImplementation(() => {})
  const client = made()
  void client.connect()
  await refuse()
  expect(warned).toHaveBeenCalledExactlyOnceWith(expect.stringContaining("AUTHENTICATION_FAILED: no such key"))
  client.onError(() => {})
  void client.connect()
  await refuse()
  expect(warned).toHaveBeenCalledOnce()
})

it("does not make who reads without connect() wait", async () => {
  await expect(made().collection("tasks").findMany()).rejects.toMatchObject({ code: "CONNECTION_LOST", message: "call connect() first" })
})

it("reports what callbacks reject with as what they throw", async () => {
  const reported = vi.spyOn(console, "error").mockImplementation(() => {})
  const client = made()
  void client.connect()
  await settle()
  ScriptedSocket.last.welcome()
  const fails = async (): Promise<void> => Promise.reject(new Error("mine"))
  client.collection("tasks").subscribe("*", fails)
  client.collection("tasks").subscribe({}, fails)
  client.collection("tasks").subscribe({ condition: fails as never }, () => {})
  client.events.subscribe("x", fails)
  client.presence.subscribe("d", fails)
  queryStore(client, "tasks", { limit: 1 }).subscribe(fails)
  await settle()
  const { last } = ScriptedSocket
  last.say({ type: "event", subs: [1], cursor: "c", event: { id: "a", version: 1 } as never })
  for (const sub of [2, 3, 6]) last.say({ type: "rows", sub, rows: [], versions: [] })
  last.say({ type: "custom", subs: [4], cursor: "c", event: { type: "x" } })
  last.say({ type: "presence", subs: [5], count: 0, people: [] })
  await settle()
  expect(reported).toHaveBeenCalledTimes(6)
})
