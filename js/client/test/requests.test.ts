import { afterEach, beforeEach, expect, it, vi } from "vitest"
import { connectionLost, LumenizeError } from "../src/errors.js"
import type { Request } from "../src/protocol.js"
import { Requests } from "../src/requests.js"

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

class World {
  open = true
  sent: (Request & { id: number })[] = []
  failed: LumenizeError[] = []
  pending: number[] = []
  refusal: LumenizeError | null = null
  /** The server's time. */
  time = 1e12
  readonly requests: Requests

  constructor(maxWrites = 1000) {
    this.requests = new Requests(
      {
        isOpen: () => this.open,
        now: () => this.time,
        send: (message) => {
          this.sent.push(message)
          return this.refusal
        },
        keeper: null,
        pending: () => this.pending.push(this.requests.writes.size),
        shown: () => {},
        isTold: () => false,
        fail: (error) => this.failed.push(error),
      },
      maxWrites,
      30_000,
    )
    this.requests.over = null
  }

  write(entity = "a"): Promise<unknown> {
    return this.requests.write({ type: "delete", collection: "tasks", entity, request: `r-${entity}` }, [])
  }

  answer(id: number): void {
    this.requests.answered(id, { data: {}, version: 1, conflicts: [] })
  }

  get types(): string[] {
    return this.sent.splice(0).map(({ type }) => type)
  }
}

it("gives each answer to the one who asked", async () => {
  const world = new World()
  const first = world.requests.ask({ type: "schema" }, "read")
  const second = world.requests.ask({ type: "count", collection: "tasks" }, "read")
  world.requests.refused(1, new LumenizeError("NOT_FOUND", "no"))
  world.requests.answered(2, 7)
  world.requests.answered(99, "nobody asked")
  await expect(first).rejects.toMatchObject({ code: "NOT_FOUND" })
  expect(await second).toBe(7)
})

it("asks reads and writes again after a reconnect, and not what was about the connection", async () => {
  const world = new World()
  const session = world.requests.ask({ type: "emit", event: { type: "x" } }, "session")
  const read = world.requests.ask({ type: "schema" }, "read")
  const write = world.write()
  expect(world.types).toEqual(["emit", "schema", "delete"])
  world.open = false
  world.requests.lost(connectionLost("lost"))
  await expect(session).rejects.toMatchObject({ code: "CONNECTION_LOST" })
  world.open = true
  world.requests.flush()
  expect(world.sent).toMatchObject([
    { type: "schema", id: 2 },
    { type: "delete", id: 3, request: "r-a" },
  ])
  world.requests.answered(2, "s")
  world.answer(3)
  expect(await read).toBe("s")
  await write
  world.requests.flush()
  expect(world.sent).toHaveLength(2)
})

it("asks what is of this moment again after a reconnect, but not without a connection", async () => {
  const world = new World()
  const emit = world.requests.ask({ type: "emit", event: { type: "x" }, request: "r" }, "now")
  world.open = false
  world.requests.lost(connectionLost("lost"))
  await expect(world.requests.ask({ type: "emit", event: { type: "y" } }, "now")).rejects.toMatchObject({ code: "CONNECTION_LOST" })
  world.open = true
  world.requests.flush()
  world.requests.flush()
  expect(world.sent.filter(({ type }) => type === "emit")).toMatchObject([
    { id: 1, request: "r" },
    { id: 1, request: "r" },
  ])
  world.requests.answered(1, null)
  await emit
})

it("sends nothing twice on one connection", () => {
  const world = new World()
  void world.requests.ask({ type: "schema" }, "read")
  world.requests.flush()
  world.requests.flush()
  expect(world.types).toEqual(["schema"])
})

it("refuses at once what is about a connection that is not there", async () => {
  const world = new World()
  world.open = false
  await expect(world.requests.ask({ type: "emit", event: {} }, "session")).rejects.toMatchObject({ code: "CONNECTION_LOST" })
})

it("refuses reads once nobody tries to connect any more, and keeps writes", async () => {
  const world = new World()
  world.open = false
  const read = world.requests.ask({ type: "schema" }, "read")
  void world.write()
  world.requests.stopped(connectionLost("disconnected"))
  await expect(read).rejects.toMatchObject({ message: "disconnected" })
  await expect(world.requests.ask({ type: "schema" }, "read")).rejects.toMatchObject({ code: "CONNECTION_LOST" })
  world.requests.over = null
  void world.requests.ask({ type: "schema" }, "read")
  world.open = true
  world.requests.flush()
  expect(world.types).toEqual(["schema", "delete"])
})

it("takes no more writes than may wait", async () => {
  const world = new World(2)
  world.open = false
  void world.write("a")
  void world.write("b")
  await expect(world.write("c")).rejects.toMatchObject({ code: "RATE_LIMIT_EXCEEDED", details: { limit: 2 } })
})

it("tells how many writes are not confirmed, after those who wait for the answer", async () => {
  const world = new World()
  const order: string[] = []
  void world.write().then(() => order.push("answer"))
  world.answer(1)
  await vi.advanceTimersByTimeAsync(0)
  expect([world.pending, order]).toEqual([[1, 0], ["answer"]])
})

it("repeats writes that were too fast after the pause that the server asks for, in order", async () => {
  const world = new World()
  const tooFast = new LumenizeError("RATE_LIMIT_EXCEEDED", "slow down", { retryAfter: 3 }, true)
  const write = world.write("a")
  void world.write("b")
  void world.write("a")
  world.requests.refused(1, tooFast)
  world.requests.refused(2, tooFast)
  expect(world.failed).toEqual([tooFast])
  expect(world.types).toEqual(["delete", "delete"])
  await vi.advanceTimersByTimeAsync(2999)
  expect(world.sent).toEqual([])
  await vi.advanceTimersByTimeAsync(1)
  expect(world.sent.map(({ id }) => id)).toEqual([1, 2])
  world.answer(1)
  await write
  expect(world.sent.map(({ id }) => id)).toEqual([1, 2, 3])
})

it("repeats writes that the server could not take, and does not make reads wait for that", async () => {
  const world = new World()
  void world.write()
  world.requests.refused(1, new LumenizeError("UNAVAILABLE", "later", {}, true))
  expect(world.types).toEqual(["delete"])
  void world.requests.ask({ type: "schema" }, "read")
  expect(world.types).toEqual(["schema"])
  await vi.advanceTimersByTimeAsync(1000)
  expect(world.types).toEqual(["delete"])
  expect(world.failed).toEqual([])
})

it("does not wait for a pause of a connection that has ended", () => {
  const world = new World()
  void world.write()
  world.requests.refused(1, new LumenizeError("UNAVAILABLE", "later", { retryAfter: 50 }, true))
  world.requests.lost(connectionLost("lost"))
  world.requests.flush()
  expect(world.types).toEqual(["delete", "delete"])
})

it("refuses a request that the server would not take, and goes on", async () => {
  const world = new World()
  world.refusal = new LumenizeError("INVALID_REQUEST", "too large")
  const large = world.write()
  await expect(large).rejects.toMatchObject({ message: "too large" })
  expect(world.requests.writes.size).toBe(0)
})

it("sends what the caller said, whatever becomes of the object", () => {
  const world = new World()
  world.open = false
  const event = { type: "findMany", collection: "tasks", query: { where: { at: new Date(0) } } } as const
  const query: { where: { at: unknown } } = event.query
  void world.requests.ask(event as unknown as Request, "read")
  query.where.at = "changed"
  world.open = true
  world.requests.flush()
  expect(world.sent[0]).toMatchObject({ query: { where: { at: "1970-01-01T00:00:00.000Z" } } })
})

it("rejects what no JSON can say, and forgets it", async () => {
  const world = new World()
  await expect(world.requests.ask({ type: "emit", event: { type: "x", n: 1n } }, "session")).rejects.toMatchObject({ code: "INVALID_REQUEST" })
  world.requests.flush()
  expect(world.sent).toEqual([])
})

it("reads an entity after what was written to it before, and not after what is written later", async () => {
  const world = new World()
  const read = (entity: string): void => void world.requests.ask({ type: "findById", collection: "tasks", entity }, "read")
  void world.write("a")
  void world.write("a")
  read("a")
  read("b")
  expect(world.types).toEqual(["delete", "findById"])
  world.answer(1)
  void world.write("a")
  expect(world.types).toEqual(["delete"])
  world.answer(2)
  expect(world.types).toEqual(["findById", "delete"])
})

it("does not wait for ever for an answer, except to a write", async () => {
  const world = new World()
  const read = world.requests.ask({ type: "count", collection: "tasks" }, "read")
  const emit = world.requests.ask({ type: "emit", event: { type: "x" } }, "session")
  let written = false
  void world.write().then(() => (written = true))
  await vi.advanceTimersByTimeAsync(29_000)
  world.requests.answered(2, null)
  await emit
  const late = expect(read).rejects.toMatchObject({ code: "CONNECTION_LOST", retryable: true })
  await vi.advanceTimersByTimeAsync(1000)
  await late
  world.requests.answered(1, 7)
  await vi.advanceTimersByTimeAsync(1_000_000)
  world.answer(3)
  await vi.advanceTimersByTimeAsync(0)
  expect([written, vi.getTimerCount()]).toEqual([true, 0])
})

it("gives up writes that are not the next user's", async () => {
  const world = new World()
  world.open = false
  const writes = [world.write("a"), world.write("a")].map((write) => expect(write).rejects.toMatchObject({ code: "AUTHENTICATION_FAILED" }))
  world.requests.forgetWrites(new LumenizeError("AUTHENTICATION_FAILED", "another user"))
  await Promise.all(writes)
  world.open = true
  world.requests.flush()
  expect([world.sent, world.pending.at(-1)]).toEqual([[], 0])
})

it("does not send again what the server may have forgotten, and whatever was not sent", async () => {
  const HOUR = 3_600_000
  for (const [hours, again] of [[22, true], [24, false], [-24, false]] as const) {
    const world = new World()
    const sent = world.write("sent").catch((error: LumenizeError) => error)
    world.open = false
    world.requests.lost(connectionLost("gone"))
    void world.write("waits")
    world.sent = []
    world.open = true
    world.time += hours * HOUR
    world.requests.flush()
    await Promise.resolve()
    expect(world.sent.map(({ id }) => id)).toEqual(again ? [1, 2] : [2])
    if (!again) expect(await sent).toMatchObject({ code: "CONNECTION_LOST", message: expect.stringContaining("may have been made") })
  }
})
