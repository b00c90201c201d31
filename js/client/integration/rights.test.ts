import { afterAll, beforeAll, expect, it } from "vitest"
import type { LumenizeError } from "../src/index.js"
import type { Data } from "../src/schema.js"
import type { EntityEvent, Person } from "../src/types.js"
import { codes, log, until, World } from "./world.js"

let world: World
beforeAll(async () => {
  world = await World.start({ guarded: true })
})
afterAll(() => world.end())

it("is not let in with a wrong token, and says so once", async () => {
  const client = world.client()
  const errors = codes(client)
  await expect(client.connect({ token: "wrong" })).rejects.toMatchObject({ code: "AUTHENTICATION_FAILED" })
  await expect(client.connect({})).rejects.toMatchObject({ type: "AUTHENTICATION_FAILED" })
  expect(errors).toEqual(["AUTHENTICATION_FAILED", "AUTHENTICATION_FAILED"])
  await client.connect({ userId: "ada", token: await world.token("ada") })
  expect(client.isConnected()).toBe(true)
})

it("is told what it may not do, by the call or the subscription that asked", async () => {
  const client = await world.connected({ token: await world.token("ada", { "tasks/*": "read" }) })
  const errors = codes(client)
  const told = log<LumenizeError>()
  await expect(client.tasks.create({ a: 1 })).rejects.toMatchObject({ code: "PERMISSION_DENIED" })
  client.users.subscribe("*", () => {}, { onError: told.add })
  await until(() => told.length === 1)
  expect([told.last?.code, errors]).toEqual(["PERMISSION_DENIED", []])
  client.users.subscribe({}, () => {})
  await until(() => errors.length === 1)
  expect(errors).toEqual(["SUBSCRIPTION_FAILED"])
})

it("shows the next token before the last one ends, without a break", async () => {
  let asked = 0
  const client = await world.connected({ userId: "ada", token: () => world.token("ada", undefined, (asked += 1) === 1 ? 3 : 3600) })
  const breaks = log<unknown>()
  client.onDisconnect(breaks.add)
  await until(() => asked === 2)
  await new Promise((resolve) => setTimeout(resolve, 3500))
  expect(await client.tasks.count()).toBeGreaterThanOrEqual(0)
  expect(breaks).toEqual([])
})

it("ends with a token that ends, unless it can have another", async () => {
  const fixed = await world.connected({ token: await world.token("ada", undefined, 2) })
  const ended = codes(fixed)
  await until(() => ended.length > 0)
  expect(ended).toEqual(["AUTHENTICATION_FAILED"])
  await fixed.connect({ token: await world.token("ada") })
})

it("takes another token of the same user, and keeps the old one when that is refused", async () => {
  const client = await world.connected({ userId: "ada", token: await world.token("ada") })
  await client.authenticate({ token: await world.token("ada") })
  await expect(client.authenticate({ token: await world.token("bob") })).rejects.toMatchObject({ code: "AUTHENTICATION_FAILED" })
  await client.tasks.create({ a: 1 })
  await client.disconnect()
  await client.connect()
})

it("goes on as another user with other credentials, under whom nothing of the first one's is written", async () => {
  const client = await world.connected({ token: await world.token("ada") })
  const events = log<EntityEvent>()
  client.tasks.subscribe("*", events.add)
  await client.tasks.create({ id: "hers" })
  await client.disconnect()
  const lost = expect(client.tasks.create({ id: "late" })).rejects.toMatchObject({ code: "AUTHENTICATION_FAILED" })
  await client.connect({ token: await world.token("bob") })
  await lost
  await client.tasks.create({ id: "his" })
  await until(() => events.length === 2)
  expect(events.map(({ id, userId }) => `${id} ${userId}`)).toEqual(["hers ada", "his bob"])
  // also without a disconnect between
  await client.connect({ token: await world.token("carl") })
  await client.tasks.create({ id: "carls" })
  await until(() => events.length === 3)
  expect(events.last?.userId).toBe("carl")
})

it("loses what is taken from it: subscriptions, documents, presence, and keeps the rest", async () => {
  const client = await world.connected({ token: await world.token("ada") })
  const other = await world.connected({ token: await world.token("bob") })
  const errors = codes(client)
  const [told, rows, kept, refused, people] = [log<LumenizeError>(), log<Data[]>(), log<EntityEvent>(), log<LumenizeError>(), log<Person[]>()]
  client.tasks.subscribe({}, rows.add, { onError: told.add })
  client.messages.subscribe("*", kept.add)
  other.presence.subscribe("tasks/t", people.add)
  await client.presence.join("tasks/t", { cursor: 1 })
  const open = await client.documents.open("tasks/t")
  await open.synced
  open.onError(refused.add)
  await until(() => rows.last && people.last?.length === 1)
  await client.authenticate({ token: await world.token("ada", { "messages/*": "write" }) })
  await until(() => told.length === 1 && refused.length === 1 && people.last?.length === 0)
  expect([told.last?.code, open.state, errors]).toEqual(["PERMISSION_DENIED", "closed", []])
  await other.messages.create({ id: "m" })
  await until(() => kept.length === 1)
})

it("may read a document that it may not write", async () => {
  const writer = await world.connected({ token: await world.token("bob") })
  const written = await writer.documents.open("shared")
  written.doc.getText("content").insert(0, "theirs")
  await written.whenSaved()
  const reader = await world.connected({ token: await world.token("ada", { "*/*": "read" }) })
  const open = await reader.documents.open("shared")
  await open.synced
  expect([open.doc.getText("content").toString(), open.state]).toEqual(["theirs", "readonly"])
})

it("is told who says something, whatever the event says", async () => {
  const ada = await world.connected({ token: await world.token("ada") })
  const events = log<Data>()
  ada.events.subscribe("x", events.add)
  await ada.events.emit({ type: "x", userId: "bob" })
  await until(() => events.length === 1)
  expect(events[0]).toMatchObject({ userId: "ada" })
})
