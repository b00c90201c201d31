import { expect, it } from "vitest"
import { lens, type Op } from "../src/overlay.js"
import type { Query } from "../src/queries.js"
import type { Data } from "../src/schema.js"
import { vectors } from "./vectors.js"

interface Case {
  query: Query
  fields: string[] | null
  rows: Data[]
  versions: Record<string, number>
  ops: Partial<Op>[]
  shown: Data[]
}

it.each(vectors<Case>("overlay"))(
  "shows own writes where the Python client shows them %#",
  ({ query, fields, rows, versions, ops, shown }) => {
    const known = ops.map((op) => ({ collection: "tasks", unset: [], ...op }) as Op)
    expect(lens(query, fields ?? undefined)(rows, new Map(Object.entries(versions)), known)).toEqual(shown)
  },
)

it("shows updates of rows that are there even where the query makes no sense", () => {
  const broken = lens({ where: { AND: [null] } } as unknown as Query, undefined)
  const op: Op = { kind: "update", collection: "tasks", id: "a", values: { n: 2 }, unset: [] }
  expect(broken([{ id: "a", n: 1 }], new Map([["a", 1]]), [op])).toEqual([{ id: "a", n: 2 }])
})
