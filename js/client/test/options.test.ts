import { expect, it } from "vitest"
import { LumenizeClient } from "../src/index.js"
import { DEFAULTS, readOptions } from "../src/options.js"
import type { ClientOptions } from "../src/types.js"

it("has an answer for everything that an application does not say", () => {
  const made = readOptions({ url: "https://host", projectId: undefined } as unknown as ClientOptions)
  expect(made).toMatchObject({ ...DEFAULTS, url: "wss://host/realtime" })
  expect(made).not.toHaveProperty("projectId")
  expect(made.backoff).toEqual({ strategy: "exponential", initialDelay: 1000, maxDelay: 30_000, backoffFactor: 2, maxAttempts: Infinity })
})

it("knows both names of an option; the one by which it is known counts", () => {
  const { backoff } = readOptions({ websocket: { reconnectInterval: 5, maxReconnectAttempts: 3 } })
  expect(backoff).toMatchObject({ initialDelay: 5, maxAttempts: 3 })
  const both = readOptions({ websocket: { reconnectInterval: 5, initialDelay: 6, maxReconnectAttempts: 3, maxAttempts: 4 } })
  expect(both.backoff).toMatchObject({ initialDelay: 6, maxAttempts: 4 })
})

it.each([
  ["http://host", "ws://host/realtime"],
  ["wss://host/collab/", "wss://host/collab/realtime"],
  ["https://host/realtime", "wss://host/realtime"],
  [undefined, "ws://localhost:8000/realtime"],
])("finds the way to a server: %s", (url, target) => {
  expect(readOptions(url === undefined ? {} : { url }).url).toBe(target)
})

it.each([
  [{ websokcet: {} }, "unknown option websokcet; options are url, projectId"],
  [{ websocket: { reconnectIntervall: 1 } }, "unknown option websocket.reconnectIntervall"],
  [{ websocket: { constructor: 1 } }, "unknown option websocket.constructor"],
  [{ websocket: { subscriptionRateLimit: { maxEvents: 1 } } }, "unknown option websocket.subscriptionRateLimit.maxEvents"],
  [{ websocket: { maxDelay: "5" } }, 'websocket.maxDelay: must be a number of at least 0, not "5"'],
  [{ websocket: { heartbeatTimeout: 0 } }, "websocket.heartbeatTimeout: must be a number of at least 1, not 0"],
  [{ websocket: { maxAttempts: NaN } }, "websocket.maxAttempts: must be a number of at least 0"],
  [{ websocket: { reconnectStrategy: "fibonacci" } }, 'websocket.reconnectStrategy: must be "exponential" or "linear", not "fibonacci"'],
  [{ websocket: null }, "websocket: must be an object, not null"],
  [{ token: 5 }, "token: must be a string or a function, not 5"],
  [{ url: "ftp://host" }, "url: must begin with http, https, ws or wss"],
  [{ url: "http://" }, 'url: "http://" is not a URL'],
  ["http://host", 'options: must be an object, not "http://host"'],
])("refuses what makes no sense, and says what would: %j", (options, message) => {
  expect(() => new LumenizeClient(options as ClientOptions)).toThrow(
    expect.objectContaining({ code: "INVALID_REQUEST", message: expect.stringContaining(message) as string }),
  )
})

it("refuses calls that make no sense, before anything is sent", async () => {
  const client = new LumenizeClient()
  const { tasks } = client as unknown as Record<string, Record<string, (...given: unknown[]) => unknown>>
  const refused = { code: "INVALID_REQUEST" }
  const call = () => {}
  for (const given of [["*"], [call], [null, call], [5, call], ["*", call, { field: ["a"] }], ["*", call, { fields: "a" }], [{ condition: 1 }, call]]) {
    expect(() => tasks?.["subscribe"]?.(...given)).toThrow(expect.objectContaining(refused))
  }
  const { events, presence } = client as unknown as Record<string, Record<string, (...given: unknown[]) => unknown>>
  expect(() => events?.["subscribe"]?.(undefined, call)).toThrow(expect.objectContaining(refused))
  expect(() => presence?.["subscribe"]?.("room")).toThrow(expect.objectContaining(refused))
  await expect(tasks?.["update"]?.("t", {}, { ifVersion: 1 })).rejects.toMatchObject(refused)
  await expect(tasks?.["update"]?.("t", {}, { onConflict: "fail" })).rejects.toMatchObject(refused)
  await expect(tasks?.["create"]?.({ n: NaN })).rejects.toMatchObject(refused)
  await expect(tasks?.["findById"]?.("t", { contents: true })).rejects.toMatchObject(refused)
  await expect(tasks?.["findMany"]?.({}, { field: ["a"] })).rejects.toMatchObject(refused)
  await expect(tasks?.["history"]?.("t", { limit: "5" })).rejects.toMatchObject(refused)
  expect(client.pending).toBe(0)
})
