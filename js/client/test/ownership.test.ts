/** Nothing that is handed out is the client's own state, or can be changed for others who get it. */
import { afterEach, beforeEach, expect, it, vi } from "vitest"
import { LumenizeError, type Data, type LumenizeClient } from "../src/index.js"
import { joinPresence, metricStore, presenceStore } from "../src/stores/index.js"
import { connectedClient, ScriptedSocket, settle } from "./scripted.js"

let client: LumenizeClient<{ tasks: Data }>

beforeEach(async () => {
  vi.useFakeTimers()
  client = await connectedClient()
})
afterEach(() => void vi.useRealTimers())

const isFrozen = (value: unknown): boolean =>
  typeof value !== "object" || value === null || (Object.isFrozen(value) && Object.values(value).every(isFrozen))

it("is a schema of the caller's own, and a frozen one for all", async () => {
  const read = client.refreshSchema()
  ScriptedSocket.last.reply(1, { tasks: { schema: { type: "object" } } })
  const schema = await read
  schema["tasks"].schema.type = "mine"
  expect(client.schema).toEqual({ tasks: { schema: { type: "object" } } })
  expect(isFrozen(client.schema)).toBe(true)
})

it("is conflicts that one listener cannot change for the next", async () => {
  const told: unknown[] = []
  client.onConflict((conflicts, context) => void told.push(conflicts, context))
  const written = client.tasks.update("a", { n: 1 })
  const conflicts = [{ field: "n", base: null, theirs: { deep: [1] }, yours: 1, winner: "yours", userId: null, at: null }]
  ScriptedSocket.last.reply(1, { data: { id: "a", n: 1 }, version: 2, conflicts })
  await written
  expect(told).toEqual([conflicts, { collection: "tasks", id: "a" }])
  expect(told.every(isFrozen)).toBe(true)
})

it("is an error whose members nobody can change, to which tools may add their own", () => {
  const details: Data = { data: { n: [1] } }
  details["self"] = details
  const error = new LumenizeError("CONFLICT", "no", details)
  for (const name of ["code", "message", "details", "retryable", "name"]) {
    expect(() => Object.assign(error, { [name]: null })).toThrow(TypeError)
  }
  expect(() => (error.details["data"] as { n: number[] }).n.push(2)).toThrow(TypeError)
  expect(Object.assign(error, { seen: true })).toMatchObject({ code: "CONFLICT", message: "no", seen: true })
})

it("is one error for all who subscribed, which holds no state of the subscription that could be changed", async () => {
  const told: LumenizeError[] = []
  client.onError((error) => told.push(error))
  const fields = ["n"]
  client.tasks.subscribe({ where: { n: 1 } }, () => {}, { fields })
  fields.push("mine")
  await settle()
  ScriptedSocket.last.say({ type: "failure", sub: 1, error: { code: "PERMISSION_DENIED", message: "no" } })
  expect(told[0]?.details).toEqual({ cause: "PERMISSION_DENIED", target: { kind: "rows", collection: "tasks", query: { where: { n: 1 } }, fields: ["n"] } })
  expect(isFrozen(told[0]?.details)).toBe(true)
})

it("is people and numbers that components share without a way to change them", async () => {
  const [people, number] = [presenceStore(client, "d"), metricStore(client, "active_users")]
  for (const store of [people, number]) store.subscribe(() => {})
  await settle()
  ScriptedSocket.last.say({ type: "presence", subs: [1], count: 1, people: [{ key: "a", state: { cursor: { x: 1 } } }] })
  ScriptedSocket.last.say({ type: "metric", subs: [2], value: 3 })
  expect(people.getSnapshot()).toMatchObject({ people: [{ key: "a", cursor: { x: 1 } }], count: 1 })
  expect(number.getSnapshot()).toEqual({ value: 3, loading: false, error: null })
  expect([people, number].every((store) => isFrozen(store.getSnapshot()))).toBe(true)
})

it("sends and shows what was said, whatever the caller does with its values afterwards", async () => {
  const shown: Data[][] = []
  client.tasks.subscribe({}, (rows) => shown.push(rows))
  await settle()
  ScriptedSocket.last.say({ type: "rows", sub: 1, rows: [{ id: "a", n: 1, tags: ["x"] }], versions: [1] })
  void client.tasks.update("b", { n: 0 }).catch(() => {})
  const [unset, tags, state] = [["n"], ["y"], { cursor: { x: 1 } }]
  void client.tasks.update("a", { tags }, { unset }).catch(() => {})
  const joined = joinPresence(client, "d", state)
  unset.push("tags")
  tags.push("mine")
  state.cursor.x = 9
  void client.tasks.update("b", { n: 2 }).catch(() => {})
  await settle()
  expect(shown.at(-1)).toMatchObject([{ id: "a", tags: ["y"] }])
  expect(shown.at(-1)?.[0]).not.toHaveProperty("n")
  expect(ScriptedSocket.last.of("joinPresence")).toMatchObject([{ state: { cursor: { x: 1 } } }])
  joined.leave()
})

it("is a room of others, too, which one with a state that cannot be sent does not disturb", async () => {
  const told: LumenizeError[] = []
  client.onError((error) => told.push(error))
  const bad = joinPresence(client, "d", { at: NaN })
  joinPresence(client, "d", { name: "Ada" })
  bad.update({ call: () => {} })
  await settle()
  expect(told).toMatchObject([{ code: "INVALID_REQUEST" }, { code: "INVALID_REQUEST" }])
  expect(ScriptedSocket.last.of("joinPresence")).toMatchObject([{ room: "documents/d", state: { name: "Ada" } }])
  bad.update({ at: 1 })
  await settle()
  expect(ScriptedSocket.last.of("joinPresence").at(-1)).toMatchObject({ state: { name: "Ada", at: 1 } })
})
