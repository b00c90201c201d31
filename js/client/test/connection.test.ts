import { afterEach, beforeEach, expect, it, vi } from "vitest"
import { Connection, type ConnectionEvents, type ConnectionOptions } from "../src/connection.js"
import type { LumenizeError } from "../src/errors.js"
import type { Credentials } from "../src/types.js"
import { ScriptedSocket, settle } from "./scripted.js"

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.restoreAllMocks()
  vi.useRealTimers()
})

function connection(options: Partial<ConnectionOptions> = {}, credentials: Credentials = {}) {
  const log: string[] = []
  const errors: LumenizeError[] = []
  const events: ConnectionEvents = {
    entering: () => undefined,
    opened: (_, again, token) => log.push(`opened${again ? " again" : ""}${token === undefined ? "" : ` with ${token}`}`),
    message: (message) => log.push(message.type),
    frame: (frame) => log.push(`frame ${frame.join(" ")}`),
    closed: (error) => log.push(`closed ${error?.code ?? "by us"}`),
    fail: (error) => {
      errors.push(error)
      log.push(`failed ${error.code}`)
    },
    gaveUp: (_, exhausted) => log.push(`gave up${exhausted ? " exhausted" : ""}`),
  }
  const made = new Connection(
    {
      url: "ws://host/realtime",
      autoReconnect: true,
      backoff: { strategy: "linear", initialDelay: 1000, maxDelay: 5000, backoffFactor: 2, maxAttempts: 3 },
      heartbeatInterval: 30_000,
      heartbeatTimeout: 10_000,
      connectTimeout: 10_000,
      binaryProtocol: false,
      WebSocket: ScriptedSocket.fresh(),
      ...options,
    },
    events,
  )
  made.credentials = credentials
  return { connection: made, log, errors }
}

async function open(options: Partial<ConnectionOptions> = {}, credentials: Credentials = {}) {
  const made = connection(options, credentials)
  const connected = made.connection.connect()
  await settle()
  ScriptedSocket.last.welcome()
  await connected
  return made
}

const ENDLESS = { backoff: { strategy: "linear", initialDelay: 1000, maxDelay: 5000, backoffFactor: 2, maxAttempts: Infinity } } as const
const PERMANENT = { code: "AUTHENTICATION_FAILED", message: "expired" }

it("greets with what it knows, and is open once it is welcome", async () => {
  const { connection: made, log } = connection({ projectId: "p", apiKey: "k", maxSubscriptions: 5 })
  const connected = made.connect({ userId: "u", token: () => "t" })
  await settle()
  ScriptedSocket.last.onopen?.()
  expect(made.isOpen).toBe(false)
  ScriptedSocket.last.welcome()
  await connected
  expect(made.isOpen).toBe(true)
  expect(ScriptedSocket.last.sent[0]).toEqual({
    type: "hello", protocol: 1, projectId: "p", apiKey: "k", userId: "u", token: "t", maxSubscriptions: 5,
  })
  expect(log).toEqual(["opened with t"])
})

it("comes back after a cut, later each time, and begins anew once it was welcome", async () => {
  const { log } = await open()
  ScriptedSocket.last.end()
  await vi.advanceTimersByTimeAsync(1000)
  ScriptedSocket.last.end()
  await vi.advanceTimersByTimeAsync(2000)
  expect(ScriptedSocket.all).toHaveLength(3)
  ScriptedSocket.last.welcome()
  expect(log).toEqual(["opened", "closed CONNECTION_LOST", "failed CONNECTION_LOST", "opened again"])
  ScriptedSocket.last.end()
  await vi.advanceTimersByTimeAsync(1000)
  expect(ScriptedSocket.all).toHaveLength(4)
})

it("tells of the first attempt that fails, not of each", async () => {
  const { connection: made, log } = connection()
  made.connect().catch(() => {})
  await settle()
  ScriptedSocket.last.end()
  await vi.advanceTimersByTimeAsync(1000)
  ScriptedSocket.last.end()
  expect(log).toEqual(["failed CONNECTION_LOST"])
})

it("gives up after as many attempts as it may make", async () => {
  const { connection: made, log } = connection()
  const connected = made.connect()
  connected.catch(() => {})
  for (let attempt = 0; attempt <= 3; attempt += 1) {
    await vi.advanceTimersByTimeAsync(5000)
    ScriptedSocket.last.end()
  }
  await expect(connected).rejects.toMatchObject({ code: "CONNECTION_LOST" })
  expect(log).toEqual(["failed CONNECTION_LOST", "failed CONNECTION_LOST", "gave up exhausted"])
  await vi.advanceTimersByTimeAsync(60_000)
  expect(ScriptedSocket.all).toHaveLength(4)
})

it.each([4400, 4401, 4403, 4413, 4499])("does not come back after close code %i", async (code) => {
  const { log } = await open()
  ScriptedSocket.last.end(code)
  await vi.advanceTimersByTimeAsync(60_000)
  expect(ScriptedSocket.all).toHaveLength(1)
  expect(log.at(-1)).toBe("gave up")
})

it.each([1000, 1001, 1006, 1011, 1012, 4503, 4529])("comes back after close code %i", async (code) => {
  await open()
  ScriptedSocket.last.end(code)
  await vi.advanceTimersByTimeAsync(1000)
  expect(ScriptedSocket.all).toHaveLength(2)
})

it("tells a permanent error once, with the words of the server", async () => {
  const { connection: made, log, errors } = connection()
  const connected = made.connect()
  connected.catch(() => {})
  await settle()
  ScriptedSocket.last.say({ type: "failure", error: PERMANENT })
  ScriptedSocket.last.end(4401)
  await expect(connected).rejects.toMatchObject(PERMANENT)
  expect(log).toEqual(["failed AUTHENTICATION_FAILED", "gave up"])
  expect(errors[0]?.message).toBe("expired")
})

it("takes a server that restarts for a lost connection", async () => {
  const { errors } = await open()
  ScriptedSocket.last.say({ type: "failure", error: { code: "UNAVAILABLE", message: "restarting", retryable: true } })
  ScriptedSocket.last.end(1012)
  expect(errors).toMatchObject([{ code: "CONNECTION_LOST", details: { cause: "UNAVAILABLE" } }])
  await vi.advanceTimersByTimeAsync(1000)
  expect(ScriptedSocket.all).toHaveLength(2)
})

it("comes back with the next token when one has expired, if it can have one", async () => {
  let count = 0
  const { log } = await open({}, { token: () => `t${(count += 1)}` })
  ScriptedSocket.last.say({ type: "failure", error: PERMANENT })
  ScriptedSocket.last.end(4401)
  await vi.advanceTimersByTimeAsync(1000)
  ScriptedSocket.last.welcome()
  expect(log.at(-1)).toBe("opened again with t2")
})

it("asks a function some more times for a token where the server refuses the first, and not for ever", async () => {
  let token = "old"
  const { connection: made } = connection({}, { token: () => token })
  const connected = made.connect()
  await settle()
  ScriptedSocket.last.end(4401)
  await vi.advanceTimersByTimeAsync(1000)
  ScriptedSocket.last.end(4401)
  token = "new"
  await vi.advanceTimersByTimeAsync(2000)
  ScriptedSocket.last.welcome()
  await connected
  expect(ScriptedSocket.last.of("hello")).toMatchObject([{ token: "new" }])
  made.disconnect()
  const { connection: other } = connection(ENDLESS, { token: () => "t" })
  const caught = expect(other.connect()).rejects.toMatchObject({ code: "AUTHENTICATION_FAILED" })
  await settle()
  for (let count = 0; count < 10; count += 1) {
    ScriptedSocket.last.end(4401)
    await vi.advanceTimersByTimeAsync(6000)
  }
  await caught
  expect(ScriptedSocket.all).toHaveLength(5)
})

it("tries again when the token cannot be had", async () => {
  let works = false
  const { connection: made } = connection({}, { token: () => (works ? "t" : Promise.reject(new Error("offline"))) })
  const connected = made.connect()
  await settle()
  expect(ScriptedSocket.all).toHaveLength(0)
  works = true
  await vi.advanceTimersByTimeAsync(1000)
  ScriptedSocket.last.welcome()
  await connected
})

it("does not wait for a server, or a token, that does not answer", async () => {
  const { connection: made, errors } = connection({}, { token: () => new Promise(() => {}) })
  made.connect().catch(() => {})
  await vi.advanceTimersByTimeAsync(10_000)
  expect(errors).toMatchObject([{ code: "CONNECTION_LOST", message: "no token: the token function gave none within 10000 ms" }])
  made.credentials = {}
  await vi.advanceTimersByTimeAsync(1000)
  const silent = ScriptedSocket.last
  await vi.advanceTimersByTimeAsync(10_000)
  expect(silent.closed).toBe(true)
  silent.welcome()
  expect(made.isOpen).toBe(false)
})

it("comes back only if it may", async () => {
  const { log } = await open({ autoReconnect: false })
  ScriptedSocket.last.end()
  await vi.advanceTimersByTimeAsync(60_000)
  expect(ScriptedSocket.all).toHaveLength(1)
  expect(log.at(-1)).toBe("gave up exhausted")
})

it("does not come back after disconnect, at whatever moment", async () => {
  const { connection: made, log } = await open()
  made.disconnect()
  expect(ScriptedSocket.last.closed).toBe(true)
  ScriptedSocket.last.end(1000)
  made.disconnect()
  await vi.advanceTimersByTimeAsync(60_000)
  expect(log).toEqual(["opened", "closed by us", "gave up"])
  // between two attempts
  const connected = made.connect()
  connected.catch(() => {})
  await settle()
  ScriptedSocket.last.end()
  made.disconnect()
  await expect(connected).rejects.toMatchObject({ message: "disconnected" })
  // before the socket is there
  const again = made.connect()
  again.catch(() => {})
  made.disconnect()
  await vi.advanceTimersByTimeAsync(60_000)
  expect(ScriptedSocket.all).toHaveLength(2)
})

it("connects once more after disconnect, for the first time", async () => {
  const { connection: made, log } = await open()
  made.disconnect()
  const connected = made.connect()
  await settle()
  expect(ScriptedSocket.all).toHaveLength(2)
  ScriptedSocket.last.welcome()
  await connected
  expect(log.at(-1)).toBe("opened")
})

it("opens one socket for disconnect and connect in one turn, while a token is on its way", async () => {
  const tokens: ((token: string) => void)[] = []
  const { connection: made } = connection({}, { token: () => new Promise((resolve) => tokens.push(resolve)) })
  made.connect().catch(() => {})
  made.disconnect()
  const connected = made.connect()
  for (const resolve of tokens) resolve("t")
  await settle()
  expect(ScriptedSocket.all).toHaveLength(1)
  ScriptedSocket.last.welcome()
  await connected
})

it("resolves each connect, also of those who come late", async () => {
  const { connection: made } = connection()
  const both = Promise.all([made.connect(), made.connect()])
  await settle()
  ScriptedSocket.last.welcome()
  await both
  await made.connect()
  expect(ScriptedSocket.all).toHaveLength(1)
})

it("asks a silent server whether it is there, and takes it for gone when it does not say so", async () => {
  const { log } = await open()
  const first = ScriptedSocket.last
  await vi.advanceTimersByTimeAsync(30_000)
  expect(first.of("ping")).toHaveLength(1)
  first.say({ type: "pong" })
  await vi.advanceTimersByTimeAsync(35_000)
  expect(first.of("ping")).toHaveLength(2)
  expect(log).toEqual(["opened", "pong"])
  await vi.advanceTimersByTimeAsync(10_000)
  expect(log).toEqual(["opened", "pong", "closed CONNECTION_LOST", "failed CONNECTION_LOST"])
  expect(first.closed).toBe(true)
})

it("asks a page's server before it takes it for gone, however long the page slept", async () => {
  const { log } = await open()
  vi.setSystemTime(Date.now() + 3_600_000)
  await vi.advanceTimersByTimeAsync(5000)
  expect(ScriptedSocket.last.of("ping")).toHaveLength(1)
  ScriptedSocket.last.say({ type: "pong" })
  await vi.advanceTimersByTimeAsync(20_000)
  expect(log).toEqual(["opened", "pong"])
})

it("does not ask at all if the interval is 0", async () => {
  await open({ heartbeatInterval: 0 })
  await vi.advanceTimersByTimeAsync(1_000_000)
  expect(ScriptedSocket.last.of("ping")).toEqual([])
})

it("tells documents' frames and messages apart", async () => {
  const { log } = await open()
  ScriptedSocket.last.sayBytes(3, 1, 2)
  ScriptedSocket.last.say({ type: "reply", id: 1 })
  expect(log).toEqual(["opened", "frame 3 1 2", "reply"])
})

it("ends for good, with an error, where it cannot read a message: what it says would be missing", async () => {
  const { log, errors } = await open()
  ScriptedSocket.last.onmessage?.({ data: "{" })
  expect(ScriptedSocket.last.closed).toBe(true)
  expect(errors).toMatchObject([{ code: "INTERNAL_ERROR", message: expect.stringContaining("cannot read") as string }])
  await vi.advanceTimersByTimeAsync(60_000)
  expect(ScriptedSocket.all).toHaveLength(1)
  expect(log[0]).toBe("opened")
})

it("does not send what the server would end the connection for", async () => {
  const { connection: made } = connection()
  made.connect().catch(() => {})
  await settle()
  ScriptedSocket.last.welcome({ maxMessageBytes: 100 })
  const emit = (text: string) => made.send({ type: "emit", id: 1, event: { type: "x", text } })
  expect(emit("é".repeat(20))).toBeNull()
  expect(emit("é".repeat(40))).toMatchObject({ code: "INVALID_REQUEST", details: { limit: 100 } })
  expect(ScriptedSocket.last.of("emit")).toHaveLength(1)
})

it("finds out how things stand when the page is looked at again", async () => {
  let changed: (() => void) | undefined
  const page = { visibilityState: "hidden", addEventListener: (_: string, call: () => void) => (changed = call), removeEventListener: () => (changed = undefined) }
  vi.stubGlobal("document", page)
  try {
    const { connection: made, log } = await open()
    await vi.advanceTimersByTimeAsync(1000)
    changed?.()
    expect(ScriptedSocket.last.of("ping")).toEqual([])
    page.visibilityState = "visible"
    changed?.()
    changed?.()
    expect(ScriptedSocket.last.of("ping")).toHaveLength(1)
    await vi.advanceTimersByTimeAsync(15_000)
    expect(log).toEqual(["opened", "closed CONNECTION_LOST", "failed CONNECTION_LOST"])
    changed?.()
    await settle()
    expect(ScriptedSocket.all).toHaveLength(2) // without waiting for its time
    changed?.()
    await settle()
    expect(ScriptedSocket.all).toHaveLength(2)
    made.disconnect()
    expect(changed).toBeUndefined()
  } finally {
  }
})

it("begins anew for other credentials, and goes on for the same ones", async () => {
  const token = () => "t"
  const { connection: made, log } = await open({}, { userId: "ada", token })
  await made.connect({ token: () => "t2" })
  await made.connect({ userId: "ada" })
  expect([ScriptedSocket.all.length, made.isOpen]).toEqual([1, true])
  const other = made.connect({ userId: "bob", token: "b" })
  expect([ScriptedSocket.last.closed, made.isOpen]).toEqual([true, false])
  await settle()
  ScriptedSocket.last.welcome()
  await other
  expect(ScriptedSocket.last.sent[0]).toMatchObject({ userId: "bob", token: "b" })
  expect(log).toEqual(["opened with t", "closed by us", "opened with b"])
})

it("takes the credentials given last, also while it connects", async () => {
  const { connection: made, log } = connection()
  const first = made.connect()
  await settle()
  const second = made.connect({ userId: "ada" })
  await settle()
  ScriptedSocket.all[0]?.welcome()
  expect(made.isOpen).toBe(false)
  ScriptedSocket.last.welcome()
  await Promise.all([first, second])
  expect(ScriptedSocket.last.sent[0]).toMatchObject({ userId: "ada" })
  expect(log).toEqual(["opened"])
})

it("does not wait when the network is back, and drops the socket when it is gone", async () => {
  const listeners = new Map<string, () => void>()
  vi.stubGlobal("addEventListener", (name: string, call: () => void) => listeners.set(name, call))
  vi.stubGlobal("removeEventListener", (name: string) => listeners.delete(name))
  try {
    const { connection: made } = await open()
    listeners.get("offline")?.()
    expect(made.isOpen).toBe(false)
    expect(ScriptedSocket.last.closed).toBe(true)
    listeners.get("online")?.()
    await settle()
    expect(ScriptedSocket.all).toHaveLength(2)
    await vi.advanceTimersByTimeAsync(5000)
    expect(ScriptedSocket.all).toHaveLength(2)
    made.disconnect()
    expect(listeners.size).toBe(0)
  } finally {
  }
})
