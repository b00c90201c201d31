import { expect, it } from "vitest"
import type { Step } from "../src/protocol.js"
import { applySteps } from "../src/rows.js"
import type { Data } from "../src/schema.js"
import { vectors } from "./vectors.js"

it.each(vectors<{ before: Data[]; steps: Step[]; after: Data[] | null }>("steps"))(
  "makes the steps that the Python side makes %#",
  ({ before, steps, after }) => {
    const copy = structuredClone(before)
    expect(applySteps(before, steps)).toEqual(after)
    expect(before).toEqual(copy)
  },
)

it("keeps rows that did not change as the same objects", () => {
  const before = [{ id: "a" }, { id: "b" }]
  const after = applySteps(before, [{ op: "change", id: "b", set: { n: 1 } }])
  expect(after?.[0]).toBe(before[0])
  expect(after?.[1]).not.toBe(before[1])
})

it("gives a row that enters its permissions, where they were asked for", () => {
  const permissions = { read: true, write: false }
  expect(applySteps([], [{ op: "enter", id: "a", index: 0, data: { id: "a" }, permissions }])).toEqual([{ id: "a", permissions }])
})
