import { expect, test } from "vitest"

import { sideBySide } from "../src/diff.js"

const lines = (text: string): string => text.split("").join("\n")

test("equal texts are the same line by line", () => {
  expect(sideBySide("a\nb", "a\nb").every(({ same, left, right }) => same && left === right)).toBe(true)
})

test("a changed line stands beside the one before", () => {
  expect(sideBySide("a\nb\nc", "a\nx\nc")).toEqual([
    { left: "a", right: "a", same: true },
    { left: "b", right: "x", same: false },
    { left: "c", right: "c", same: true },
  ])
})

test("an added line has nothing beside it, and so does a removed one", () => {
  expect(sideBySide("a\nc", "a\nb\nc")[1]).toEqual({ left: null, right: "b", same: false })
  expect(sideBySide("a\nb\nc", "a\nc")[1]).toEqual({ left: "b", right: null, same: false })
})

test("what is common is found between changes", () => {
  const rows = sideBySide(lines("xaybz"), lines("1a2b3"))
  expect(rows.filter(({ same }) => same).map(({ left }) => left)).toEqual(["a", "b"])
})

test("both sides can be put together again, also of texts that are too long to compare", () => {
  let seed = 1
  const random = (most: number): number => (seed = (seed * 48271) % 2147483647) % most
  for (const size of [0, 1, 5, 40, 1500]) {
    const before = Array.from({ length: size }, () => String(random(5))).join("\n")
    const after = Array.from({ length: size + random(4) }, () => String(random(5))).join("\n")
    const rows = sideBySide(before, after)
    expect(rows.flatMap(({ left }) => left ?? []).join("\n")).toBe(before)
    expect(rows.flatMap(({ right }) => right ?? []).join("\n")).toBe(after)
    expect(rows.every(({ same, left, right }) => !same || left === right)).toBe(true)
  }
})
