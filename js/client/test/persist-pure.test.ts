/** What is kept, dropped and sent again: decisions without a database. */
import { expect, it } from "vitest"
import { toDrop } from "../src/persist/bounds.js"
import type { Item, ItemKey, KeptWrite } from "../src/persist/database.js"
import { inOrder, isKeptWrite, ticker, writesIn } from "../src/persist/kept-write.js"
import { readRows } from "../src/persist/rows.js"
import { claimOf, isOther, spaceOf } from "../src/persist/space.js"

const url = "wss://here/realtime"

function tokenOf(claims: object): string {
  return `e30.${btoa(JSON.stringify(claims))}.x`
}

const write = (more: Partial<KeptWrite> = {}): KeptWrite => ({
  space: "s",
  at: 1,
  tab: "t",
  sent: null,
  request: { type: "create", collection: "tasks", entity: "a", data: {}, request: "r" },
  ...more,
})

/** Numbers in [0, 1), the same in each run. */
function numbers(): () => number {
  let seed = 1
  return () => (seed = (seed * 48271) % 2147483647) / 2147483647
}

it("drops the least recently used until nine tenths of the limit remain, and nothing unsaved or in use", () => {
  const random = numbers()
  for (let round = 0; round < 500; round++) {
    const items = Array.from({ length: Math.floor(random() * 12) }, (_, index): [ItemKey, Item] => [
      ["s", random() < 0.5 ? "rows" : "document", String(index)],
      { bytes: Math.floor(random() * 100), used: Math.floor(random() * 1000), unsaved: random() < 0.2 },
    ])
    const held = new Set(items.filter(() => random() < 0.2).map(([key]) => key))
    const limit = Math.floor(random() * 400)
    const dropped = new Set(toDrop(items, limit, (key) => held.has(key)))
    const sum = (of: typeof items): number => of.reduce((all, [, { bytes }]) => all + bytes, 0)
    const rest = items.filter(([key]) => !dropped.has(key))
    const free = rest.filter(([key, { unsaved }]) => !unsaved && !held.has(key))
    expect(items.filter(([key, { unsaved }]) => dropped.has(key) && (unsaved || held.has(key)))).toEqual([])
    if (sum(items) <= limit) expect(dropped.size).toBe(0)
    else expect(sum(rest) <= limit * 0.9 || free.length === 0).toBe(true)
    for (const [key, { used }] of items) if (dropped.has(key)) expect(free.every(([, other]) => other.used >= used)).toBe(true)
  }
})

it("keeps each user of each project of each server apart, whatever their names contain", () => {
  const parts = ["", "a", "b", '"', "a,b", "null"]
  const names = parts.flatMap((server) => parts.flatMap((project) => [null, ...parts].map((user) => spaceOf(server, project, user))))
  expect(new Set(names).size).toBe(names.length)
})

it("takes the user from userId, else from the token's subject, and knows an opaque token again without keeping it", () => {
  const claims = [
    claimOf({ url }),
    claimOf({ url, projectId: "p" }),
    claimOf({ url, apiKey: "k" }),
    claimOf({ url, userId: "ada" }),
    claimOf({ url, userId: "bob" }),
    claimOf({ url: "wss://there/realtime", userId: "ada" }),
    claimOf({ url, token: tokenOf({ sub: "ada" }) }),
    claimOf({ url, token: tokenOf({ sub: "ada", iss: "login" }) }),
    claimOf({ url, token: tokenOf({ sub: "bob" }) }),
    claimOf({ url, token: "tok_1" }),
    claimOf({ url, token: "tok_2" }),
  ]
  expect(new Set(claims).size).toBe(claims.length)
  expect(claimOf({ url, token: tokenOf({ sub: "ada", exp: 1 }) })).toBe(claimOf({ url, token: tokenOf({ sub: "ada", exp: 2 }) }))
  expect(claimOf({ url, token: "tok_1" })).toBe(claims[9])
  expect(claims.join()).not.toContain("tok_")
  expect(claimOf({ url, userId: "ada", token: tokenOf({ sub: "eve" }) })).toBe(claims[3])
})

it("takes other credentials for those of another, and the next function for the same", () => {
  expect(isOther({ userId: "ada" }, { userId: "ada" })).toBe(false)
  expect(isOther({ userId: "ada" }, { userId: "bob" })).toBe(true)
  expect(isOther({ token: "a" }, { token: "b" })).toBe(true)
  expect(isOther({ token: () => "a" }, { token: () => "b" })).toBe(false)
  expect(isOther({ token: () => "a" }, { token: "a" })).toBe(true)
})

it("knows writes from other values", () => {
  const create = { type: "create", collection: "tasks", entity: "a", data: {}, request: "r" }
  const update = { type: "update", collection: "tasks", entity: "a", changes: {}, request: "r" }
  const other = { type: "delete", collection: "tasks", entity: "b", request: "q" }
  const whole = [
    create,
    update,
    other,
    { type: "restore", collection: "tasks", entity: "a", version: 3, request: "r" },
    { type: "writeMany", writes: [create, update] },
    { type: "transaction", writes: [create, other], request: "r" },
  ]
  expect(whole.filter((request) => !isKeptWrite(write({ request: request as never })))).toEqual([])
  for (const request of whole) {
    for (const name of Object.keys(request).filter((each) => each !== "version")) {
      const { [name]: _, ...rest } = request as Record<string, unknown>
      expect(isKeptWrite(write({ request: rest as never })), `${request.type} without ${name}`).toBe(false)
    }
  }
  for (const value of [undefined, null, 1, "", [], {}, write({ at: "1" as never }), write({ sent: "no" as never })]) expect(isKeptWrite(value)).toBe(false)
})

it("orders writes as they were made, and lists those of a request", () => {
  const [a, b, c] = [write({ at: 2 }), write({ at: 1 }), write({ at: 1, tab: "a" })]
  expect(inOrder([a, b, c])).toEqual([c, b, a])
  expect(writesIn(write().request).map(({ entity }) => entity)).toEqual(["a"])
})

it("counts time without saying the same twice, also when the clock is set back", () => {
  const times = [5, 5, 3, 9]
  const tick = ticker(() => times.shift() as number)
  expect([tick(), tick(), tick(), tick()]).toEqual([5, 6, 7, 9])
})

it("reads rows as they were written, and nothing else", () => {
  expect(readRows(JSON.stringify({ rows: [{ id: "a" }], versions: [3] }), 7)).toEqual({ type: "rows", sub: 7, rows: [{ id: "a" }], versions: [3] })
  for (const text of [undefined, 7, "", "{", "[]", "null", '{"rows":[1],"versions":[]}', '{"rows":[{"id":1}],"versions":[]}', '{"rows":[],"versions":["1"]}']) {
    expect(readRows(text, 1)).toBe(null)
  }
})

it("reads what rows include as it was written, and nothing else", () => {
  const owner = { collection: "users", by: "ownerId", member: "id", one: true, rows: { u1: [{ id: "u1" }] }, versions: { u1: [2] } }
  const kept = (included?: unknown): string => JSON.stringify({ rows: [{ id: "a", ownerId: "u1" }], versions: [3], included })
  expect(readRows(kept({ owner }), 7, ["owner"])).toEqual({ type: "rows", sub: 7, rows: [{ id: "a", ownerId: "u1" }], versions: [3], included: { owner } })
  const broken = [{ ...owner, by: 1 }, { ...owner, rows: { u1: [1] } }, { ...owner, versions: {} }, { ...owner, versions: { u1: ["2"] } }, null]
  for (const included of [undefined, null, {}, ...broken.map((owner) => ({ owner }))]) expect(readRows(kept(included), 7, ["owner"])).toBe(null)
})
