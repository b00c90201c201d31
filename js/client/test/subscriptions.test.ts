import { afterEach, beforeEach, expect, it, vi } from "vitest"
import { connectionLost, LumenizeError } from "../src/errors.js"
import { inTurn } from "../src/listeners.js"
import type { Request, Subscribed } from "../src/protocol.js"
import { EntitySubscription, NoticeSubscription, RowsSubscription } from "../src/subscription.js"
import { Subscriptions } from "../src/subscriptions.js"
import type { EntityEvent, SubscribeOptions } from "../src/types.js"
import { settle } from "./scripted.js"

beforeEach(() => void vi.useFakeTimers())
afterEach(() => {
  vi.restoreAllMocks()
  vi.useRealTimers()
})

type Asked = Extract<Request, { type: "subscribe" | "unsubscribe" }>

class World {
  open = true
  readonly asked: { request: Asked; answer(result: unknown): void; refuse(error: LumenizeError): void }[] = []
  readonly failed: LumenizeError[] = []
  readonly subscriptions = new Subscriptions(
    (request) =>
      new Promise((answer, refuse) => {
        if (!this.open) return refuse(connectionLost("lost"))
        this.asked.push({ request: request as Asked, answer, refuse })
      }),
    { turn: inTurn(), over: null, keeper: null, isOpen: () => this.open, fail: (error) => this.failed.push(error) },
  )

  events(options: SubscribeOptions = {}, heard: EntityEvent[] = []) {
    const subscription = new EntitySubscription({ kind: "entities", collection: "tasks" }, options, (event) => heard.push(event))
    const end = this.subscriptions.add(subscription)
    return { end, ready: end.ready, subscription, heard }
  }

  /** Answer the last question. */
  async confirm(...results: Partial<Subscribed>[]): Promise<void> {
    await settle()
    const { request, answer } = this.asked.at(-1) ?? {}
    if (request?.type !== "subscribe") throw new Error("nothing was asked")
    answer?.(request.subscriptions.map(({ sub }, at) => ({ sub, cursor: "c1", ...results[at] })))
    await settle()
  }

  async cut(): Promise<void> {
    this.open = false
    this.subscriptions.interrupted()
    for (const { refuse } of this.asked.splice(0)) refuse(connectionLost("lost"))
    await settle()
  }

  async back(): Promise<void> {
    this.open = true
    this.subscriptions.flush()
    await settle()
  }

  get targets(): unknown[] {
    const { request } = this.asked.at(-1) ?? {}
    return request?.type === "subscribe" ? request.subscriptions.map(({ target }) => target) : []
  }
}

const event = (id: string, version: number): EntityEvent => ({ id, version }) as EntityEvent
const refusal = { code: "PERMISSION_DENIED", message: "no" }

it("sends what is added in one turn as one message", async () => {
  const world = new World()
  const all = [world.events(), world.events(), world.events()]
  await world.confirm()
  await Promise.all(all.map(({ ready }) => ready))
  expect(world.asked).toHaveLength(1)
  expect(world.targets).toHaveLength(3)
})

it("sends many in messages of 256", async () => {
  const world = new World()
  for (let count = 0; count < 300; count += 1) world.events()
  await settle()
  expect(world.asked.map(({ request }) => (request as { subscriptions: unknown[] }).subscriptions.length)).toEqual([256, 44])
})

it("goes on from the last event after a cut, and says whether something was missed", async () => {
  const world = new World()
  const resumed: boolean[] = []
  world.events({ onResume: (recovered) => resumed.push(recovered) })
  await world.confirm()
  world.subscriptions.tell({ type: "event", subs: [1], cursor: "c7", event: event("a", 1) })
  await world.cut()
  await world.back()
  expect(world.targets).toMatchObject([{ cursor: "c7" }])
  await world.confirm({ cursor: "c9" })
  await world.cut()
  await world.back()
  expect(world.targets).toMatchObject([{ cursor: "c7" }])
  await world.confirm({ cursor: "c9", recovered: false })
  await world.cut()
  await world.back()
  expect(world.targets).toMatchObject([{ cursor: "c9" }])
  expect(resumed).toEqual([true, false])
})

it("goes on from the confirmation where there was no event yet", async () => {
  const world = new World()
  world.events()
  await world.confirm({ cursor: "c3" })
  await world.cut()
  await world.back()
  expect(world.targets).toMatchObject([{ cursor: "c3" }])
})

it("tells an event once, also if it comes again after a cut, and all of them after a loss", async () => {
  const world = new World()
  const { heard } = world.events()
  await world.confirm()
  const tell = (version: number): void =>
    world.subscriptions.tell({ type: "event", subs: [1], cursor: "c", event: event("a", version) })
  tell(1)
  tell(2)
  tell(2)
  tell(1)
  expect(heard.map(({ version }) => version)).toEqual([1, 2])
  await world.cut()
  await world.back()
  await world.confirm({ recovered: false })
  tell(1)
  expect(heard).toHaveLength(3)
})

it("takes custom events up last, for the channels that entities bring", async () => {
  const world = new World()
  world.subscriptions.add(new NoticeSubscription({ kind: "custom", event: "x" }, {}, () => {}))
  world.events()
  await settle()
  expect(world.targets).toMatchObject([{ kind: "entities" }, { kind: "custom" }])
})

it("asks for nothing that was given up before it could be asked for", async () => {
  const world = new World()
  const { end, ready } = world.events()
  end()
  await settle()
  expect(world.asked).toEqual([])
  await ready
})

it("ends a subscription that was given up while it was asked for", async () => {
  const world = new World()
  const { end, ready, heard } = world.events()
  await settle()
  end()
  end()
  await settle()
  expect(world.asked.map(({ request }) => request)).toMatchObject([{ type: "subscribe" }, { type: "unsubscribe", subs: [1] }])
  world.subscriptions.tell({ type: "event", subs: [1], cursor: "c", event: event("a", 1) })
  expect(heard).toEqual([])
  await ready
  world.asked[0]?.answer([{ sub: 1, cursor: "c" }])
  await settle()
  expect(world.subscriptions.size).toBe(0)
})

it("does not come back with what was given up without a connection", async () => {
  const world = new World()
  const { end } = world.events()
  await world.confirm()
  await world.cut()
  end()
  await world.back()
  expect(world.asked).toEqual([])
})

it("asks again for what a cut left without an answer", async () => {
  const world = new World()
  const { ready } = world.events()
  await settle()
  await world.cut()
  await world.back()
  await world.confirm()
  await ready
})

it("tells a refusal to the subscription alone if it wants to know", async () => {
  const world = new World()
  const told: LumenizeError[] = []
  const { ready } = world.events({ onError: (error) => told.push(error) })
  await world.confirm({ error: refusal })
  await expect(ready).rejects.toMatchObject(refusal)
  expect(told).toMatchObject([refusal])
  expect([world.failed, world.subscriptions.size]).toEqual([[], 0])
})

it("tells a refusal that no subscription takes to the client", async () => {
  const world = new World()
  world.events()
  await world.confirm({ error: refusal })
  expect(world.failed).toMatchObject([
    { type: "SUBSCRIPTION_FAILED", details: { cause: "PERMISSION_DENIED", target: { collection: "tasks" } } },
  ])
})

it("lets the others of a batch stand when one is refused", async () => {
  const world = new World()
  const [first, second] = [world.events(), world.events()]
  await world.confirm({}, { error: refusal })
  await first.ready
  await expect(second.ready).rejects.toMatchObject(refusal)
})

it("ends a subscription that the server ends, and does not take it up again", async () => {
  const world = new World()
  world.events({ onError: () => {} })
  await world.confirm()
  world.subscriptions.ended(1, LumenizeError.of(refusal))
  await world.cut()
  await world.back()
  expect(world.asked).toEqual([])
})

it("asks again for what is refused for now, and tells that once", async () => {
  const world = new World()
  const told: LumenizeError[] = []
  const limit = { code: "RATE_LIMIT_EXCEEDED", message: "too many", retryable: true }
  world.events({ onError: (error) => told.push(error) })
  await world.confirm({ error: limit })
  await vi.advanceTimersByTimeAsync(1000)
  await world.confirm({ error: limit })
  await vi.advanceTimersByTimeAsync(1000)
  await world.confirm()
  expect([world.asked.length, told.length]).toEqual([3, 1])
})

it("takes a subscription that could not keep up up again from where it ended", async () => {
  const world = new World()
  world.events({ onError: () => {} })
  await world.confirm()
  world.subscriptions.ended(1, new LumenizeError("RATE_LIMIT_EXCEEDED", "slow", { cursor: "c5" }, true))
  await vi.advanceTimersByTimeAsync(1000)
  expect(world.targets).toMatchObject([{ cursor: "c5" }])
})

it("delivers to the others when a callback throws, and nothing while the condition does not hold", async () => {
  vi.spyOn(console, "error").mockImplementation(() => {})
  const world = new World()
  let wanted = false
  const guarded = world.events({ condition: () => wanted })
  const broken = world.events({
    condition: () => {
      throw new Error("mine")
    },
  })
  const whole = world.events()
  await world.confirm()
  world.subscriptions.tell({ type: "event", subs: [2, 1, 3], cursor: "c", event: event("a", 1) })
  wanted = true
  world.subscriptions.tell({ type: "event", subs: [2, 1, 3], cursor: "c", event: event("a", 2) })
  expect([guarded.heard.length, broken.heard.length, whole.heard.length]).toEqual([1, 0, 2])
})

it("reads rows anew, under another number, when steps do not fit them", async () => {
  const world = new World()
  const shown: unknown[] = []
  const rows = new RowsSubscription({ kind: "rows", collection: "tasks" }, {}, {}, { commits: 0, ops: () => [], isLate: () => false, told: () => {} }, () => {}, (now) => shown.push(now))
  const end = world.subscriptions.add(rows)
  await world.confirm()
  world.subscriptions.tell({ type: "rows", sub: 1, rows: [{ id: "a" }], versions: [1] })
  world.subscriptions.tell({ type: "diff", sub: 1, steps: [{ op: "leave", id: "x" }] })
  await settle()
  expect(world.asked.slice(1).map(({ request }) => request)).toMatchObject([
    { type: "unsubscribe", subs: [1] },
    { type: "subscribe", subscriptions: [{ sub: 2 }] },
  ])
  world.subscriptions.tell({ type: "diff", sub: 1, steps: [{ op: "leave", id: "a" }] })
  world.subscriptions.tell({ type: "rows", sub: 2, rows: [{ id: "b" }], versions: [1] })
  expect(shown).toEqual([[{ id: "a" }], [{ id: "b" }]])
  end()
  expect(world.subscriptions.size).toBe(0)
})

it("takes up declarations of schemas behind the last that was told", async () => {
  const world = new World()
  const heard = vi.fn()
  world.subscriptions.add(new NoticeSubscription({ kind: "system", event: "schema_updated" }, {}, heard))
  await world.confirm({ cursor: "tasks=1" })
  await world.cut()
  await world.back()
  expect(world.targets).toMatchObject([{ cursor: "tasks=1" }])
  await world.confirm({ cursor: "tasks=1" })
  world.subscriptions.tell({ type: "system", subs: [1], event: { type: "schema_updated" }, cursor: "tasks=2" })
  await world.cut()
  await world.back()
  expect(world.targets).toMatchObject([{ cursor: "tasks=2" }])
  expect(heard).toHaveBeenCalledOnce()
})
