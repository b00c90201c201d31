import { expect, test } from "vitest"

import { isPlace, placeOf, readPlace } from "../src/places.js"
import { PAGE, queryOf } from "../src/query.js"

test("a place is read as it was written", () => {
  const place = readPlace(placeOf("acme", "rows", ["tasks", "a:b.c"], { where: '{"a/b?": "#"}', orderBy: "" }), "default")
  expect(place).toMatchObject({ project: "acme", view: "rows", parts: ["tasks", "a:b.c"] })
  expect([...place.query]).toEqual([["where", '{"a/b?": "#"}']])
})

test("without a place there is the overview of the given project", () => {
  for (const hash of ["", "#", "#/"]) expect(readPlace(hash, "default")).toMatchObject({ project: "default", view: "overview", parts: [] })
})

test("a link that signs in and an element of the page are no places", () => {
  for (const hash of ["#eyJh.eyJi.c-_", "#main"]) expect(isPlace(hash)).toBe(false)
  for (const hash of ["", placeOf("acme", "rows", ["tasks", "a.b.c"])]) expect(isPlace(hash)).toBe(true)
})

test("what somebody typed with a broken escape is taken as it is", () => {
  expect(readPlace("#/%zz/rows", "default").project).toBe("%zz")
})

test("words, conditions and orders become a query", () => {
  expect(queryOf("blue wha", '{"done": false}', " title desc,  updatedAt ")).toEqual({
    limit: PAGE,
    search: "blue wha",
    where: { done: false },
    orderBy: [{ title: "desc" }, { updatedAt: "asc" }],
  })
  expect(queryOf("", "", "")).toEqual({ limit: PAGE })
})

test.each([
  ["{", ""],
  ["", "title sideways"],
  ["", "title desc desc"],
  ["", ","],
])("%s %s is refused", (where, order) => {
  expect(() => queryOf("", where, order)).toThrow(/Where|Order/)
})
