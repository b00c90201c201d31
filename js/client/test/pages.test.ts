import { CORE } from "../src/core.js"
import { afterEach, beforeEach, expect, it, vi } from "vitest"
import type { LumenizeClient } from "../src/index.js"
import { NO_PAGES, pagesStore, type PagesState } from "../src/stores/index.js"
import type { Data } from "../src/schema.js"
import { connectedClient, ScriptedSocket, settle } from "./scripted.js"

let client: LumenizeClient

beforeEach(async () => {
  vi.useFakeTimers()
  client = await connectedClient()
})
afterEach(() => void vi.useRealTimers())

const subscribed = (): number => client[CORE].subscriptions.size
const all = Array.from({ length: 30 }, (_, number) => ({ id: `t${String(number).padStart(2, "0")}`, n: number }))
const ids = (state: PagesState<Data>): string[] => state.data.map(({ id }) => id)
/** Answers the newest subscription with the first rows. */
const answer = (rows: Data[] = all): void => {
  const { sub, target } = (ScriptedSocket.last.of("subscribe").at(-1)!["subscriptions"] as { sub: number; target: Data }[]).at(-1)!
  const some = rows.slice(0, target["query"].limit)
  ScriptedSocket.last.say({ type: "rows", sub, rows: some, versions: some.map(() => 1) })
}

it("shows one page, then more, and keeps one subscription", async () => {
  const store = pagesStore(client, "tasks", { orderBy: { n: "asc" } }, { pageSize: 10 })
  const told: PagesState<Data>[] = []
  store.subscribe(() => told.push(store.getSnapshot()))
  expect(store.getSnapshot()).toMatchObject({ data: [], loading: true, hasMore: false, loadingMore: false })
  await settle()
  answer()
  expect(ids(store.getSnapshot())).toEqual(all.slice(0, 10).map(({ id }) => id))
  expect(store.getSnapshot()).toMatchObject({ loading: false, hasMore: true })
  expect(store.getSnapshot()).toBe(store.getSnapshot())

  store.getSnapshot().loadMore()
  store.getSnapshot().loadMore()
  await settle()
  expect(store.getSnapshot()).toMatchObject({ loadingMore: true, loading: false })
  expect(ids(store.getSnapshot())).toHaveLength(10)
  answer()
  await settle()
  expect(ids(store.getSnapshot())).toEqual(all.slice(0, 20).map(({ id }) => id))
  expect(store.getSnapshot()).toMatchObject({ loadingMore: false, hasMore: true })
  expect(subscribed()).toBe(1)

  store.getSnapshot().loadMore()
  await settle()
  answer()
  expect(store.getSnapshot()).toMatchObject({ hasMore: false })
  store.getSnapshot().loadMore()
  await settle()
  expect(ScriptedSocket.last.of("subscribe")).toHaveLength(3)
  expect(told.every(({ data }) => data.length % 10 === 0)).toBe(true)
})

it("stays live across pages: a row that moves is in the list once", async () => {
  const store = pagesStore(client, "tasks", { orderBy: { n: "asc" } }, { pageSize: 2 })
  store.subscribe(() => {})
  await settle()
  answer()
  store.getSnapshot().loadMore()
  // the first page goes on while the longer list is under way
  ScriptedSocket.last.say({ type: "diff", sub: 1, steps: [{ op: "leave", id: "t00", version: 2 }, { op: "enter", id: "t03", index: 2, data: all[3]!, version: 1 }] })
  expect(ids(store.getSnapshot())).toEqual(["t01", "t02"])
  await settle()
  answer(all.slice(1))
  ScriptedSocket.last.say({ type: "diff", sub: 2, steps: [{ op: "move", id: "t01", index: 3 }, { op: "change", id: "t01", set: { n: 3.5 }, version: 2 }] })
  expect(ids(store.getSnapshot())).toEqual(["t02", "t03", "t04", "t01"])
})

it("keeps what it shows if the next page is refused, and can try again", async () => {
  const store = pagesStore(client, "tasks", {}, { pageSize: 2 })
  store.subscribe(() => {})
  await settle()
  answer()
  store.getSnapshot().loadMore()
  await settle()
  ScriptedSocket.last.say({ type: "failure", sub: 2, error: { code: "SUBSCRIPTION_FAILED", message: "no", details: {}, retryable: false } })
  expect(store.getSnapshot()).toMatchObject({ data: [{ id: "t00" }, { id: "t01" }], loadingMore: false, hasMore: true, error: { code: "SUBSCRIPTION_FAILED" } })
  await settle()
  store.getSnapshot().loadMore()
  await settle()
  expect(store.getSnapshot()).toMatchObject({ error: null, loadingMore: true })
  answer()
  await settle()
  expect(ids(store.getSnapshot())).toHaveLength(4)
  expect(subscribed()).toBe(1)
})

it("ends with its last subscriber, also while a page is under way, and begins again where it was", async () => {
  const store = pagesStore(client, "tasks", {}, { pageSize: 2 })
  const end = store.subscribe(() => {})
  await settle()
  answer()
  store.getSnapshot().loadMore()
  await settle()
  end()
  await settle()
  expect(subscribed()).toBe(0)
  store.getSnapshot().loadMore()
  expect(subscribed()).toBe(0)
  const again = store.subscribe(() => {})
  await settle()
  answer()
  expect(ids(store.getSnapshot())).toEqual(["t00", "t01"])
  again()
  await settle()
  expect(subscribed()).toBe(0)
  expect(NO_PAGES.getSnapshot()).toMatchObject({ loading: false, hasMore: false })
})

it("refuses a page size that is none", () => {
  for (const pageSize of [0, -1, 1.5, Number.NaN, "5"]) {
    expect(() => pagesStore(client, "tasks", {}, { pageSize: pageSize as number })).toThrow(expect.objectContaining({ code: "INVALID_REQUEST" }))
  }
})
