import { expect, it } from "vitest"
import { keyOf } from "../src/key.js"

it("is the same for questions that are the same", () => {
  expect(keyOf({ where: { b: 1, a: [2, null] } })).toBe(keyOf({ where: { a: [2, null], b: 1 } }))
  expect(keyOf({ at: new Date(0) })).toBe(keyOf({ at: "1970-01-01T00:00:00.000Z" }))
})

const cycle: Record<string, unknown> = {}
cycle["self"] = cycle

it("is another one for each of these", () => {
  const values = [
    {}, { a: undefined }, { a: null }, { a: "undefined" }, { a: "\0undefined undefined" }, { a: NaN }, { a: Infinity }, { a: "NaN" },
    { a: new Date("x") }, { a: new Map() }, { a: {} }, { a: [] }, { a: 1n }, { a: 1 }, { a: () => 1 }, { a: [undefined] }, { a: [null] },
    { orderBy: { a: "asc", b: "asc" } }, { orderBy: { b: "asc", a: "asc" } }, { orderBy: [{ a: "asc" }] }, { orderBy: { a: undefined } }, { orderBy: {} },
    cycle,
  ]
  expect(new Set(values.map(keyOf)).size).toBe(values.length)
})
