import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest"
import * as Y from "yjs"
import type { OpenDocument } from "../src/index.js"
import type { Data } from "../src/schema.js"
import type { EntityEvent, Person } from "../src/types.js"
import { codes, Editor, fresh, log, until, World, type Network } from "./world.js"

let world: World
let network: Network
let name: string
beforeAll(async () => {
  world = await World.start({ max_message_bytes: 100_000 })
})
beforeEach(async () => {
  network = await world.network()
  name = fresh()
})
afterEach(() => world.leave())
afterAll(() => world.end())

const text = (document: OpenDocument): string => document.doc.getText("content").toString()

describe.each([false, true])("binaryProtocol: %s", (binaryProtocol) => {
  it("brings two who write at once together, and tells them when it is saved", async () => {
    const clients = [await world.connected({ websocket: { binaryProtocol } }), await world.connected()]
    const [one, two] = (await Promise.all(clients.map((client) => client.documents.open(name)))) as [OpenDocument, OpenDocument]
    await Promise.all([one.synced, two.synced])
    for (let n = 0; n < 20; n += 1) {
      one.doc.getText("content").insert(0, "a")
      two.doc.getText("content").insert(0, "b")
    }
    expect(one.saved).toBe(false)
    await Promise.all([one.whenSaved(), two.whenSaved()])
    await until(() => text(one).length === 40 && text(one) === text(two))
    // what is saved outlives the server
    await world.kill()
    await world.again()
    const later = await (await world.connected()).documents.open(name)
    await later.synced
    expect(text(later)).toBe(text(one))
  })
})

it("keeps what is written without a connection, and says so honestly", async () => {
  const client = await world.connected({ url: network.url })
  const open = await client.documents.open(`notes/${name}`)
  await open.synced
  const states = log<string>()
  open.onState(states.add)
  network.cut()
  await until(() => !client.isConnected())
  open.doc.getText("content").insert(0, "offline")
  expect([open.state, open.saved]).toEqual(["offline", false])
  network.mend()
  await open.whenSaved()
  expect(states).toEqual(["offline", "saving", "saved"])
  const other = await (await world.connected()).documents.open(`notes/${name}`)
  await other.synced
  expect(text(other)).toBe("offline")
})

it("is not saved while the server cannot say so", async () => {
  const client = await world.connected({ url: network.url, websocket: { heartbeatInterval: 500, heartbeatTimeout: 200 } })
  const open = await client.documents.open(name)
  await open.synced
  network.swallow()
  open.doc.getText("content").insert(0, "x")
  await until(() => !client.isConnected())
  expect(open.saved).toBe(false)
  network.cut()
  network.mend()
  await open.whenSaved()
})

it("can be opened before there is a connection, closed, and opened again", async () => {
  const client = world.client()
  const early = await client.documents.open(name)
  early.doc.getText("content").insert(0, "early")
  expect(early.state).toBe("offline")
  await client.connect()
  await early.whenSaved()
  expect(await client.documents.open(name)).toBe(early)
  early.destroy()
  expect(early.state).toBe("closed")
  for (let n = 0; n < 3; n += 1) {
    const again = await client.documents.open(name)
    await again.synced
    expect(text(again)).toBe("early")
    expect(again.state).toBe("saved")
    again.destroy()
  }
})

it("is the entity's content: events tell what was written, by whom and where", async () => {
  const client = await world.connected({ userId: "ada" })
  const events = log<EntityEvent>()
  client.documents.subscribe(name, events.add)
  const open = await client.documents.open(name)
  await open.synced
  open.doc.getText("content").insert(0, "hello")
  await open.whenSaved()
  await until(() => events.some(({ changes }) => changes["content"] !== undefined))
  expect(await client.documents.findById(name, { content: true })).toMatchObject({ content: { content: "hello" } })
  await client.documents.update(name, { title: "T" })
  await until(() => open.doc.getMap("fields").get("title") === "T")
})

it("shares presence with editors, in both directions, also after a cut", async () => {
  const client = await world.connected({ url: network.url, userId: "ada" })
  const editor = await Editor.open(world, `documents/${name}`)
  try {
    const people = log<Person[]>()
    client.presence.subscribe(name, people.add)
    await editor.present({ cursor: 7 })
    await until(() => people.last?.some(({ cursor }) => cursor === 7))
    await client.presence.join(name, { cursor: { line: 1 } })
    const here = async (): Promise<boolean> => (await editor.sees()).some((state: Data) => (state["cursor"] as Data | null)?.["line"] === 1)
    await until(here)
    const open = await client.documents.open(name)
    await open.synced
    open.awareness.setLocalState({ cursor: 9 })
    await until(async () => (await editor.sees()).some((state: Data) => state["cursor"] === 9))
    await until(() => [...open.awareness.getStates().values()].some((state) => state["cursor"] === 7))
    await editor.insert("from the editor")
    await until(() => text(open) === "from the editor")
    network.cut()
    await until(async () => !(await here()))
    expect(open.awareness.getStates().size).toBe(1)
    network.mend()
    await until(here)
    await until(() => [...open.awareness.getStates().values()].some((state) => state["cursor"] === 7))
    await until(async () => (await editor.sees()).some((state: Data) => state["cursor"] === 9))
  } finally {
    await editor.close()
  }
})

it("loses nothing and doubles nothing when the server is killed while two write", async () => {
  const clients = await Promise.all([world.connected(), world.connected()])
  const [one, two] = (await Promise.all(clients.map((client) => client.documents.open(name)))) as [OpenDocument, OpenDocument]
  await Promise.all([one.synced, two.synced])
  let written = 0
  for (let round = 0; round < 2; round += 1) {
    for (let n = 0; n < 10; n += 1) {
      one.doc.getText("content").insert(0, "a")
      two.doc.getText("content").insert(0, "b")
      written += 2
      if (n === 5) await world.kill()
    }
    await until(() => clients.every((client) => !client.isConnected()))
    expect([one.saved, two.saved]).toEqual([false, false])
    await world.again()
    await Promise.all([one.whenSaved(), two.whenSaved()])
  }
  await until(() => text(one).length === written && text(one) === text(two))
  await world.kill()
  await world.again()
  const later = await (await world.connected()).documents.open(name)
  await later.synced
  expect(text(later)).toBe(text(one))
})

it("comes together with an editor that wrote on while it was away", async () => {
  const client = await world.connected({ url: network.url })
  const editor = await Editor.open(world, `documents/${name}`)
  try {
    const open = await client.documents.open(name)
    await open.synced
    await editor.insert("together ")
    await until(() => text(open) === "together ")
    network.cut()
    await until(() => !client.isConnected())
    await editor.insert("editor")
    open.doc.getText("content").insert(0, "client ")
    network.mend()
    await open.whenSaved()
    await until(async () => text(open) === "client together editor" && (await editor.text()) === text(open))
  } finally {
    await editor.close()
  }
})

it("takes a document that was kept elsewhere, and brings its content along", async () => {
  const doc = new Y.Doc()
  doc.getText("content").insert(0, "kept")
  const client = await world.connected()
  const open = await client.documents.open(name, { doc })
  expect(open.saved).toBe(false)
  await open.whenSaved()
  await expect(client.documents.open(name, { doc: new Y.Doc() })).rejects.toMatchObject({ code: "INVALID_REQUEST" })
  const other = await (await world.connected()).documents.open(name)
  await other.synced
  expect(text(other)).toBe("kept")
})

it("ends alone with an edit that is larger than the server takes", async () => {
  const client = await world.connected()
  const errors = codes(client)
  const [open, other] = await Promise.all([client.documents.open(name), client.documents.open(fresh())])
  await Promise.all([open.synced, other.synced])
  const failed = log<{ code: string }>()
  open.onError(failed.add)
  open.doc.getText("content").insert(0, "x".repeat(200_000))
  await expect(open.whenSaved()).rejects.toMatchObject({ code: "INVALID_REQUEST" })
  expect([failed.length, open.state, text(open).length]).toEqual([1, "closed", 200_000])
  other.doc.getText("content").insert(0, "y")
  await other.whenSaved()
  expect([client.isConnected(), errors]).toEqual([true, []])
})

it("finds rows by what their documents say, once and live", async () => {
  const server = await World.start({
    collections: { tasks: { search: ["title"], search_content: true } },
    content_event_seconds: 0.1,
  })
  try {
    const client = await server.connected()
    const rows = log<Data[]>()
    client.collection("tasks").subscribe({ search: "blue wha" }, rows.add)
    const open = await client.documents.open("tasks/a")
    await open.synced
    open.doc.getText("content").insert(0, "The blue whale")
    await until(() => rows.last?.[0]?.id === "a")
    expect((await client.collection("tasks").findMany({ search: '"blue whale" -green' })).map((row) => row.id)).toEqual(["a"])
    open.doc.getText("content").delete(0, 14)
    await until(() => rows.last?.length === 0)
    await server.leave()
  } finally {
    await server.end()
  }
})
