import { expect, it } from "vitest"
import { plain } from "../src/values.js"

it("makes a copy of its own, in plain JSON", () => {
  const given = { a: [1, null, undefined, "😀"], at: new Date(0), gone: undefined, own: { toJSON: () => "said" }, url: new URL("http://x/") }
  const made = plain(given)
  given.a.push(2)
  expect(made).toEqual({ a: [1, null, null, "😀"], at: "1970-01-01T00:00:00.000Z", own: "said", url: "http://x/" })
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
  ["a date that is none", { at: new Date("x") }, "at: an invalid date cannot be sent"],
  ["half a character", { a: "😀".slice(0, 1) }, "a: a text with half of a surrogate pair cannot be sent"],
  ["half a character in a name", { ["\ud83d"]: 1 }, "a name with half of a surrogate pair cannot be sent"],
  ["nothing", undefined, "a value of type undefined cannot be sent"],
  ["what holds itself", cycle, "more than 32 arrays and objects in each other cannot be sent"],
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
