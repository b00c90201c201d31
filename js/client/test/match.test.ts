import { expect, it } from "vitest"
import { comparator, compileWhere } from "../src/match.js"
import type { Query } from "../src/queries.js"
import type { Data } from "../src/schema.js"
import { vectors } from "./vectors.js"

const tables = vectors<Data[]>("tables")

it.each(vectors<{ table: number; query: Query; ids: string[] }>("queries"))(
  "selects and orders rows as the server does %#: $query",
  ({ table, query, ids }) => {
    const rows = (tables[table] ?? []).filter(compileWhere(query.where)).sort(comparator(query.orderBy))
    expect(rows.slice(0, query.limit).map((row) => row["id"] as string)).toEqual(ids)
  },
)
