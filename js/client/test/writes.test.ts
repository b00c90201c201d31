import { afterEach, beforeEach, expect, it, vi } from "vitest"
import type { Op } from "../src/overlay.js"
import { Writes, type WriteRequest } from "../src/writes.js"

type Single = Exclude<WriteRequest, { writes: unknown }>

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const update = (entity: string, version?: number): Single => ({
  type: "update",
  collection: "tasks",
  entity,
  changes: {},
  ...(version !== undefined && { version }),
})
const op = (id: string): Op => ({ kind: "update", collection: "tasks", id, values: { n: 1 }, unset: [] })
const written = (id: string, version: number): { data: { id: string }; version: number; conflicts: [] } => ({
  data: { id },
  version,
  conflicts: [],
})
const ids = (writes: Writes): number[] => writes.ready(0).map(({ id }) => id)

it("sends one write of an entity at a time, and others meanwhile", () => {
  const writes = new Writes({ shown: () => {}, isTold: () => false })
  writes.add(1, update("a"), [])
  writes.add(2, update("a"), [])
  writes.add(3, update("b"), [])
  expect(ids(writes)).toEqual([1, 3])
  expect(ids(writes)).toEqual([])
  writes.answered(1, [written("a", 1)])
  expect(ids(writes)).toEqual([2])
  expect(writes.size).toBe(2)
})

it("has no more than 64 writes under way", () => {
  const writes = new Writes({ shown: () => {}, isTold: () => false })
  for (let id = 1; id <= 100; id += 1) writes.add(id, update(`t${id}`), [])
  expect(ids(writes)).toHaveLength(64)
})

it("sends what a broken connection left unanswered again, before what waits, under the same name", () => {
  const writes = new Writes({ shown: () => {}, isTold: () => false })
  writes.add(1, { ...update("a"), request: "r1" }, [])
  writes.add(2, { ...update("a"), request: "r2" }, [])
  writes.ready(0)
  writes.lost()
  writes.add(3, update("b"), [])
  expect(writes.ready(0).map(({ request }) => (request as Single).request)).toEqual(["r1", undefined])
})

it("has seen the own write that came before", () => {
  const writes = new Writes({ shown: () => {}, isTold: () => false })
  writes.add(1, update("a", 4), [])
  writes.add(2, update("a", 4), [])
  writes.add(3, update("a", 9), [])
  writes.ready(0)
  writes.answered(1, [written("a", 5)])
  expect(writes.ready(0)[0]?.request).toMatchObject({ version: 5 })
  writes.answered(2, [written("a", 6)])
  expect(writes.ready(0)[0]?.request).toMatchObject({ version: 9 })
})

it("keeps the place of a write that was sent back", () => {
  const writes = new Writes({ shown: () => {}, isTold: () => false })
  writes.add(1, update("a"), [])
  writes.add(2, update("a"), [])
  writes.ready(0)
  writes.again(1)
  expect(ids(writes)).toEqual([1])
})

const many = (...entities: string[]): WriteRequest => ({
  type: "writeMany",
  writes: entities.map((entity) => ({ type: "update", collection: "tasks", entity, changes: {}, request: entity })),
})

it("sends several writes as one, when no entity of theirs has a write under way, and before later writes to these", () => {
  const writes = new Writes({ shown: () => {}, isTold: () => false })
  writes.add(1, update("a"), [])
  writes.add(2, many("a", "b"), [])
  writes.add(3, update("b"), [])
  writes.add(4, update("c"), [])
  expect(writes.size).toBe(5)
  expect(ids(writes)).toEqual([1, 4])
  writes.answered(1, [written("a", 7)])
  const [sent] = writes.ready(0)
  expect(sent).toMatchObject({ id: 2, request: { writes: [{ entity: "a", version: 7 }, { entity: "b" }] } })
  expect(ids(writes)).toEqual([])
  writes.lost()
  expect(ids(writes)).toEqual([2, 4])
  writes.again(2)
  expect(ids(writes)).toEqual([2])
  writes.answered(2, [null, written("b", 3)])
  expect(writes.ready(0)[0]?.request).toMatchObject({ entity: "b", version: 3 })
})

it("drops of several writes only what was refused", () => {
  const writes = new Writes({ shown: () => {}, isTold: () => false })
  writes.add(1, many("a", "b"), [op("a"), op("b")])
  expect(writes.ops("tasks").map(({ id }) => id)).toEqual(["a", "b"])
  writes.ready(0)
  writes.answered(1, [null, written("b", 3)])
  expect(writes.ops("tasks")).toEqual([{ ...op("b"), values: { id: "b" }, version: 3, commit: 1 }])
})

it("shows a committed write until each list was told of it, however long that takes", () => {
  const changed: string[] = []
  let told = false
  const writes = new Writes({ shown: (collection) => changed.push(collection), isTold: () => told })
  writes.add(1, update("a"), [op("a")])
  expect(writes.ops("tasks")).toEqual([op("a")])
  expect(writes.ops("users")).toEqual([])
  writes.answered(1, [written("a", 2)])
  const committed = { ...op("a"), values: { id: "a" }, version: 2, commit: 1 }
  expect(writes.ops("tasks")).toEqual([committed])
  expect([writes.isPending("tasks", "a"), writes.isLate(writes.ops("tasks")[0] as Op)]).toEqual([false, false])
  vi.advanceTimersByTime(60_000)
  expect(writes.ops("tasks")).toEqual([committed])
  expect(writes.isLate(writes.ops("tasks")[0] as Op)).toBe(true)
  expect(changed).toHaveLength(3)
  told = true
  writes.told("users")
  expect(writes.ops("tasks")).toHaveLength(1)
  writes.told("tasks")
  expect(writes.ops("tasks")).toEqual([])
})

it("keeps no more than 1,000 committed writes for lists that were not told of them", () => {
  const writes = new Writes({ shown: () => {}, isTold: () => false })
  for (let id = 1; id <= 1001; id += 1) {
    writes.add(id, update(`t${id}`), [op(`t${id}`)])
    writes.ready(0)
    writes.answered(id, [written(`t${id}`, 1)])
  }
  expect(writes.ops("tasks")).toHaveLength(1000)
})

it("shows a refused write no more", () => {
  const writes = new Writes({ shown: () => {}, isTold: () => false })
  writes.add(1, update("a"), [op("a")])
  expect(writes.isPending("tasks", "a")).toBe(true)
  writes.answered(1)
  expect([writes.ops("tasks"), writes.size]).toEqual([[], 0])
})
