import { afterEach, beforeEach, describe, expect, it } from "vitest"
import type { OpenDocument } from "../src/index.js"
import type { Data, EntityEvent, Person } from "../src/types.js"
import { Editor, log, until, World, type Network } from "./world.js"

let world: World
let network: Network
beforeEach(async () => {
  world = await World.start()
  network = await world.network()
})
afterEach(() => world.end())

const text = (document: OpenDocument): string => document.doc.getText("content").toString()

describe.each([false, true])("binaryProtocol: %s", (binaryProtocol) => {
  it("brings two who write at once together, and tells them when it is saved", async () => {
    const clients = [await world.connected({ websocket: { binaryProtocol } }), await world.connected()]
    const [one, two] = (await Promise.all(clients.map((client) => client.documents.open("d")))) as [OpenDocument, OpenDocument]
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
    const later = await (await world.connected()).documents.open("d")
    await later.synced
    expect(text(later)).toBe(text(one))
  })
})

it("keeps what is written without a connection, and says so honestly", async () => {
  const client = await world.connected({ url: network.url })
  const open = await client.documents.open("notes/n1")
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
  const other = await (await world.connected()).documents.open("notes/n1")
  await other.synced
  expect(text(other)).toBe("offline")
})

it("is not saved while the server cannot say so", async () => {
  const client = await world.connected({ url: network.url, websocket: { heartbeatInterval: 500 } })
  const open = await client.documents.open("d")
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
  const early = await client.documents.open("d")
  early.doc.getText("content").insert(0, "early")
  expect(early.state).toBe("offline")
  await client.connect()
  await early.whenSaved()
  expect(await client.documents.open("d")).toBe(early)
  early.destroy()
  expect(early.state).toBe("closed")
  for (let n = 0; n < 3; n += 1) {
    const again = await client.documents.open("d")
    await again.synced
    expect(text(again)).toBe("early")
    expect(again.state).toBe("saved")
    again.destroy()
  }
})

it("is the entity's content: events tell what was written, by whom and where", async () => {
  const client = await world.connected({ userId: "ada" })
  const events = log<EntityEvent>()
  client.documents.subscribe("d", events.add)
  const open = await client.documents.open("d")
  await open.synced
  open.doc.getText("content").insert(0, "hello")
  await open.whenSaved()
  await until(() => events.some(({ changes }) => changes["content"] !== undefined))
  expect(await client.documents.findById("d", { content: true })).toMatchObject({ content: { content: "hello" } })
  await client.documents.update("d", { title: "T" })
  await until(() => open.doc.getMap("fields").get("title") === "T")
})

it("shares presence with editors, in both directions, also after a cut", async () => {
  const client = await world.connected({ url: network.url, userId: "ada" })
  const editor = await Editor.open(world, "documents/d")
  try {
    const people = log<Person[]>()
    client.presence.subscribe("d", people.add)
    await editor.present({ cursor: 7 })
    await until(() => people.last?.some(({ cursor }) => cursor === 7))
    await client.presence.join("d", { cursor: { line: 1 } })
    const here = async (): Promise<boolean> => (await editor.sees()).some((state: Data) => (state["cursor"] as Data | null)?.["line"] === 1)
    await until(here)
    const open = await client.documents.open("d")
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
    await until(() => [...open.awareness.getStates().values()].some((state) => state["cursor"] === 7), 5)
    await until(async () => (await editor.sees()).some((state: Data) => state["cursor"] === 9), 5)
  } finally {
    await editor.close()
  }
})
