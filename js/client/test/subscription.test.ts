import { expect, it } from "vitest"
import type { Op } from "../src/overlay.js"
import { PresenceSubscription, RowsSubscription } from "../src/subscription.js"
import type { Data } from "../src/schema.js"
import type { Person, SubscribeOptions } from "../src/types.js"

function live(options: SubscribeOptions = {}) {
  const shown: Data[][] = []
  const ops: Op[] = []
  const seen: [string, number][] = []
  const rows = new RowsSubscription(
    { kind: "rows", collection: "tasks" },
    options,
    { orderBy: { n: "asc" } },
    { commits: 0, ops: () => ops, isLate: () => false, told: () => {} },
    (_, id, version) => seen.push([id, version]),
    (now) => shown.push(now),
  )
  return { rows, shown, ops, seen }
}
const update: Op = { kind: "update", collection: "tasks", id: "a", values: { n: 3 }, unset: [] }

it("shows rows, what changes them, and nothing that changes nothing", () => {
  const { rows, shown, seen } = live()
  rows.tell({ type: "rows", sub: 1, rows: [{ id: "a", n: 1 }], versions: [4] })
  rows.tell({ type: "diff", sub: 1, steps: [{ op: "change", id: "a", set: { n: 2 }, version: 5 }] })
  rows.tell({ type: "rows", sub: 1, rows: [{ id: "a", n: 2 }], versions: [5] })
  expect(shown).toEqual([[{ id: "a", n: 1 }], [{ id: "a", n: 2 }]])
  expect(seen).toEqual([["a", 4], ["a", 5], ["a", 5]])
})

it("shows nothing before there are rows, however much is written", () => {
  const { rows, shown, ops } = live()
  ops.push(update)
  rows.show()
  expect(shown).toEqual([])
})

it("does not go back to the old row between the answer and the change that it made", () => {
  const { rows, shown, ops } = live()
  rows.tell({ type: "rows", sub: 1, rows: [{ id: "a", n: 1 }, { id: "b", n: 2 }], versions: [1, 1] })
  ops.push(update)
  rows.show()
  ops[0] = { ...update, version: 2 } // answered
  rows.show()
  rows.tell({
    type: "diff",
    sub: 1,
    steps: [
      { op: "change", id: "a", set: { n: 3 }, version: 2 },
      { op: "move", id: "a", index: 1 },
    ],
  })
  ops.pop()
  rows.show()
  expect(shown.map((each) => each.map((row) => `${row["id"]}${row["n"]}`).join())).toEqual(["a1,b2", "b2,a3"])
})

it("puts permissions beside the fields of each row, where they were asked for", () => {
  const { rows, shown } = live({ includePermissions: true })
  const permissions = { read: true, write: false }
  rows.tell({ type: "rows", sub: 1, rows: [{ id: "a" }], versions: [1], permissions: [permissions] })
  expect(shown).toEqual([[{ id: "a", permissions }]])
})

it("keeps who is in a room", () => {
  const told: [Person[], number][] = []
  const room = new PresenceSubscription({ kind: "presence", room: "d" }, {}, (people, count) => told.push([people, count]))
  room.tell({ type: "presence", subs: [1], count: 1, people: [{ key: "k", userId: "u", state: { cursor: 1 } }], complete: true })
  room.tell({ type: "presence", subs: [1], count: 2, people: [{ key: "l" }] })
  room.tell({ type: "presence", subs: [1], count: 1, people: [], left: ["k"] })
  room.tell({ type: "presence", subs: [1], count: 1, people: [{ key: "m" }], complete: true })
  expect(told.map(([people, count]) => [people.map(({ key }) => key).join(), count])).toEqual([
    ["k", 1],
    ["k,l", 2],
    ["l", 1],
    ["m", 1],
  ])
  expect(told[0]?.[0]).toEqual([{ key: "k", userId: "u", name: null, cursor: 1, states: [] }])
})
