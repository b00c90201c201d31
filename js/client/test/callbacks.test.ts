/** A callback that writes, throws, ends something or waits changes nothing of what those behind it are told. */
import { afterEach, beforeEach, expect, it, vi } from "vitest"
import { LumenizeClient, type Data, type LumenizeError } from "../src/index.js"
import { connectionStore, listen, listenEntities, pagesStore, presenceStore, queryStore } from "../src/stores/index.js"
import { ScriptedSocket, settle } from "./scripted.js"

type Tasks = LumenizeClient<{ tasks: Data }>
let client: Tasks
let reported: ReturnType<typeof vi.spyOn>

beforeEach(async () => {
  vi.useFakeTimers()
  reported = vi.spyOn(console, "error").mockImplementation(() => {})
  client = new LumenizeClient({ WebSocket: ScriptedSocket.fresh() }) as Tasks
  client.onError(() => {})
  await connect()
})
afterEach(() => {
  vi.restoreAllMocks()
  vi.useRealTimers()
})

async function connect(): Promise<void> {
  const connected = client.connect()
  await settle()
  ScriptedSocket.last.welcome()
  await connected
}

const rows = (sub: number, ...data: Data[]): void => ScriptedSocket.last.say({ type: "rows", sub, rows: data, versions: data.map(() => 1) })

const fails = (): never => {
  throw new Error("mine")
}

it("tells all of a connection before its end, which one of them has caused", async () => {
  await client.disconnect()
  const heard: string[] = []
  client.onConnect(() => void client.disconnect())
  client.onConnect(() => heard.push("connected"))
  client.onDisconnect(() => heard.push("disconnected"))
  await connect()
  expect(heard).toEqual(["connected", "disconnected"])
})

it("counts pending writes upwards for all when a listener writes", async () => {
  const heard: number[] = []
  client.onPending((count) => void (count === 1 && client.tasks.create({ id: "b" })))
  client.onPending((count) => heard.push(count))
  void client.tasks.create({ id: "a" })
  expect(heard).toEqual([1, 2])
})

it("shows older rows to nobody after newer ones, whoever writes meanwhile", async () => {
  const seen: number[][] = [[], []]
  const note = (at: number, [first]: readonly Data[]): void => void seen[at]?.push(first?.["n"] as number)
  client.tasks.subscribe({}, (now) => {
    if (now[0]?.["n"] < 3) void client.tasks.update("a", { n: now[0]?.["n"] + 1 })
    note(0, now)
  })
  client.tasks.subscribe({ limit: 5 }, (now) => note(1, now))
  await settle()
  rows(2, { id: "a", n: 1 })
  rows(1, { id: "a", n: 1 })
  expect(seen).toEqual([
    [1, 2, 3],
    [1, 3], // the newest in its turn
  ])
})

it("shows what is true by now if a condition writes", async () => {
  const seen: number[] = []
  let written = false
  const condition = (): boolean => {
    if (!written) void client.tasks.update("a", { n: 2 })
    return (written = true)
  }
  client.tasks.subscribe({ condition }, (now) => seen.push(now[0]?.["n"] as number))
  await settle()
  rows(1, { id: "a", n: 1 })
  expect(seen).toEqual([1, 2])
})

it("calls no callback of a subscription that another callback has ended", async () => {
  const heard: string[] = []
  client.tasks.subscribe("*", () => {
    heard.push("first")
    end()
  })
  const end = client.tasks.subscribe("a", () => heard.push("ended"))
  client.tasks.subscribe("b", () => heard.push("last"))
  await settle()
  ScriptedSocket.last.say({ type: "event", subs: [1, 2, 3], cursor: "c", event: { id: "a", version: 1 } as never })
  expect(heard).toEqual(["first", "last"])
})

it("lets onError of a subscription that begins after the end use the function that ends it", async () => {
  ScriptedSocket.last.end(4403, "no")
  const told: string[] = []
  const end = client.tasks.subscribe("*", () => {}, {
    onError: ({ code }) => {
      end()
      told.push(code)
    },
  })
  const stop = client.tasks.subscribe("*", () => {}, { onError: () => told.push("ended before") })
  stop()
  await expect(end.ready).rejects.toMatchObject({ code: "PERMISSION_DENIED" })
  await stop.ready
  expect([told, reported.mock.calls]).toEqual([["PERMISSION_DENIED"], []])
})

it("tells each that the client has given up once, also one that subscribes while others are told", async () => {
  const told: string[] = []
  client.onDisconnect(() => client.tasks.subscribe("*", () => {}, { onError: ({ code }) => told.push(code) }))
  ScriptedSocket.last.end(4403, "no")
  await settle()
  expect(told).toEqual(["PERMISSION_DENIED"])
})

it("begins all of what is listened to when the first onError throws", async () => {
  const told: string[] = []
  listen(client, "typing", () => told.push("event"), ["\ud800"], fails)
  listenEntities(client, "tasks", 5 as never, () => {}, { onError: fails })
  listen(client, "typing", () => told.push("other event"))
  await settle()
  ScriptedSocket.last.say({ type: "custom", subs: [1, 2], cursor: "c", event: { type: "typing" } })
  expect([told, reported.mock.calls.length]).toEqual([["event", "other event"], 2])
})

it("tells who listens no error after it has ended that, and an invalid argument only once it can", async () => {
  const told: LumenizeError[] = []
  const end = listenEntities(client, "tasks", 5 as never, () => {}, { onError: (error) => told.push(error) })
  end()
  const later = listenEntities(client, "tasks", 5 as never, () => {}, {
    onError: (error) => {
      later()
      told.push(error)
    },
  })
  await settle()
  expect(told).toMatchObject([{ code: "INVALID_REQUEST" }])
})

it.each([
  ["a query", () => queryStore(client, "tasks")],
  ["pages", () => pagesStore(client, "tasks")],
])("tells the others of a store of %s when one throws, leaves or brings another", async (_, made) => {
  const store = made()
  const heard: string[] = []
  store.subscribe(fails)
  store.subscribe(() => {
    heard.push("first")
    leave()
    store.subscribe(() => heard.push("new"))
  })
  const leave = store.subscribe(() => heard.push("left"))
  store.subscribe(() => heard.push("last"))
  await settle()
  rows(1)
  expect(heard).toEqual(["first", "last"])
})

it("goes on when what a callback returns is never settled", async () => {
  const heard: string[] = []
  const never = () => new Promise<void>(() => {})
  const people = presenceStore(client, "d")
  client.presence.subscribe("d", never)
  people.subscribe(() => heard.push("people"))
  client.onConnect(never)
  client.onConnect(() => heard.push("connected"))
  await settle()
  for (const sub of [1, 2]) ScriptedSocket.last.say({ type: "presence", subs: [sub], count: 0, people: [] })
  await client.disconnect()
  await connect()
  expect(heard).toEqual(["people", "connected"])
})

it("stays disconnected if a listener says so while the client changes its user", async () => {
  client.onDisconnect(() => void client.disconnect())
  const refused = expect(client.connect({ userId: "bob" })).rejects.toMatchObject({ code: "CONNECTION_LOST", message: "disconnected" })
  await refused
  await vi.advanceTimersByTimeAsync(60_000)
  expect([client.isConnected(), ScriptedSocket.all.length]).toEqual([false, 1])
})

it("tells of no connection that a callback has ended before", async () => {
  await client.disconnect()
  const heard: string[] = []
  let ends = false
  client.tasks.subscribe({}, (now) => void (ends && now.length === 0 && client.disconnect()))
  client.onReconnect(() => heard.push("connected"))
  client.onConnect(() => heard.push("connected"))
  client.onDisconnect(() => heard.push("disconnected"))
  const connected = client.connect({ userId: "ada" })
  await settle()
  ScriptedSocket.last.welcome({}, "ada")
  await connected
  rows(1)
  heard.length = 0
  ends = true
  client.tasks.create({ id: "a" }).catch(() => {}) // belongs to Ada, and vanishes with her session
  const next = client.connect({ userId: "bob" })
  await settle()
  ScriptedSocket.last.welcome({}, "bob")
  await next
  expect(heard).toEqual(["disconnected", "disconnected"])
})

it("refuses a subscription alone, and not those that were sent in one message with it", async () => {
  const told: string[] = []
  client.tasks.subscribe("good", () => {}, { onError: () => told.push("good") })
  const bad = client.tasks.subscribe("bad", () => {}, { onError: () => told.push("bad") })
  await settle()
  const socket = ScriptedSocket.last
  socket.refuse(socket.of("subscribe")[0]?.id as number, "INVALID_REQUEST")
  await settle()
  const [, good, refused] = socket.of("subscribe")
  socket.refuse(refused?.id as number, "INVALID_REQUEST")
  socket.reply(good?.id as number, [{ sub: 1, cursor: "c" }])
  await expect(bad.ready).rejects.toMatchObject({ code: "INVALID_REQUEST" })
  expect(told).toEqual(["bad"])
  socket.say({ type: "failure", sub: 1, error: { code: "PERMISSION_DENIED", message: "no" } })
  expect(told).toEqual(["bad", "good"])
})

it("shows in a store that the client connects again after it had given up", async () => {
  const fresh = new LumenizeClient({ WebSocket: ScriptedSocket.fresh() })
  fresh.onError(() => {})
  const store = connectionStore(fresh)
  const states: string[] = []
  store.subscribe(() => states.push(store.getSnapshot().state))
  for (let round = 0; round < 2; round += 1) {
    void fresh.connect()
    await settle()
    ScriptedSocket.last.end(4403, "no")
  }
  expect(states.filter((state, index) => state !== states[index - 1])).toEqual(["connecting", "offline", "connecting", "offline"])
})

it("comes back although the console throws", async () => {
  const quiet = new LumenizeClient({ WebSocket: ScriptedSocket.fresh() })
  vi.spyOn(console, "warn").mockImplementation(fails)
  void quiet.connect()
  await settle()
  ScriptedSocket.last.end()
  await vi.advanceTimersByTimeAsync(2000)
  ScriptedSocket.last.welcome()
  expect(quiet.isConnected()).toBe(true)
})

it("tells all subscriptions that the client has given up, though the first that hears it connects again", async () => {
  const told: string[] = []
  const onError = (name: string) => (): void => {
    told.push(name)
    void client.connect()
  }
  const ends = ["one", "two"].map((name) => client.tasks.subscribe("*", () => {}, { onError: onError(name) }))
  ScriptedSocket.last.end(4403, "no")
  for (const { ready } of ends) await expect(ready).rejects.toMatchObject({ code: "PERMISSION_DENIED" })
  await settle()
  ScriptedSocket.last.welcome()
  await settle()
  expect([told, client.isConnected(), ScriptedSocket.last.of("subscribe").length]).toEqual([["one", "two"], true, 1])
})
