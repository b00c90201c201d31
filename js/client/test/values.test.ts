import { expect, it } from "vitest"
import { plain, plainQuery } from "../src/values.js"

it("makes a copy of its own, in plain JSON", () => {
  const given = { a: [1, null, "😀"], at: new Date(0), gone: undefined, own: { toJSON: () => "said" }, url: new URL("http://x/") }
  const made = plain(given)
  given.a.push(2)
  expect(made).toEqual({ a: [1, null, "😀"], at: "1970-01-01T00:00:00.000Z", own: "said", url: "http://x/" })
  expect(Object.keys(made)).not.toContain("gone")
})

class Point {
  constructor(readonly x: number) {}
  get double() {
    return this.x * 2
  }
}

it("takes objects of classes for their own members, and names for names", () => {
  expect(plain({ point: new Point(1) })).toEqual({ point: { x: 1 } })
  const named = plain(JSON.parse('{"__proto__": {"a": 1}, "constructor": 2}') as object)
  expect(JSON.stringify(named)).toBe('{"__proto__":{"a":1},"constructor":2}')
})

const cycle: Record<string, unknown> = {}
cycle["self"] = cycle

it.each([
  ["NaN", { a: [1, { b: NaN }] }, "a[1].b: NaN cannot be sent"],
  ["Infinity", { a: -Infinity }, "a: -Infinity cannot be sent"],
  ["an integer without end", { a: 1n }, "a: a value of type bigint cannot be sent"],
  ["a function", { a: () => {} }, "a: a value of type function cannot be sent"],
  ["a Map", { a: new Map([[1, 2]]) }, "a: a value of type Map cannot be sent"],
  ["bytes", { a: new Uint8Array(2) }, "a: a value of type Uint8Array cannot be sent"],
  ["an invalid date", { at: new Date("x") }, "at: an invalid date cannot be sent"],
  ["a lone surrogate", { a: "😀".slice(0, 1) }, "a: a string with a lone surrogate cannot be sent"],
  ["a lone surrogate in a name", { ["\ud83d"]: 1 }, "a name with a lone surrogate cannot be sent"],
  ["nothing", undefined, "undefined cannot be sent"],
  ["nothing in a list", { a: [undefined] }, "a[0]: undefined cannot be sent"],
  ["a hole in a list", { a: new Array(1) }, "a[0]: undefined cannot be sent"],
  ["a circular object", cycle, "more than 32 nested arrays and objects cannot be sent"],
])("says what is wrong with %s, and where", (_, value, message) => {
  expect(() => plain<unknown>(value)).toThrow(expect.objectContaining({ code: "INVALID_REQUEST", message: expect.stringContaining(message) as string }))
})

it("takes as much depth as the server, which counts the message", () => {
  const nested = (depth: number): unknown => (depth === 0 ? 1 : [nested(depth - 1)])
  expect(() => plain(nested(32))).not.toThrow()
  expect(() => plain(nested(33))).toThrow()
  expect(() => plain(nested(31), 2)).not.toThrow()
  expect(() => plain(nested(32), 2)).toThrow()
})

it.each([
  [{ where: { owner: undefined } }, "where.owner"],
  [{ where: { OR: [{ a: 1 }, { b: undefined }] } }, "where.OR[1].b"],
  [{ where: { OR: [undefined] } }, "where.OR[0]"],
  [{ where: { n: { gte: undefined, lt: 5 } } }, "where.n.gte"],
  [{ where: { n: { in: [undefined] } } }, "where.n.in[0]"],
  [{ where: { NOT: { a: { b: undefined } } } }, "where.NOT.a.b"],
  [{ where: undefined }, "where"],
  [{ orderBy: { n: undefined } }, "orderBy.n"],
  [{ orderBy: [undefined] }, "orderBy[0]"],
  [{ limit: undefined }, "limit"],
  [{ after: undefined }, "after"],
])("refuses undefined in the query %j, which would widen it", (query, place) => {
  const refused = { code: "INVALID_REQUEST", message: expect.stringMatching(`^${place.replaceAll(/[[\]]/g, "\\$&")}: undefined in a query`) as string }
  expect(() => plainQuery(query as never, 2)).toThrow(expect.objectContaining(refused))
})

it.each([[null], ["x"], [[]]])("takes no %j for a query", (query) => {
  expect(() => plainQuery(query as never, 2)).toThrow(expect.objectContaining({ code: "INVALID_REQUEST" }))
})
