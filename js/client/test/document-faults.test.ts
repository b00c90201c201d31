/** A document whose edits are refused, whose client ends, whose frames cannot be read, and whose listeners throw. */
import * as encoding from "lib0/encoding"
import { afterEach, beforeEach, expect, it, vi } from "vitest"
import { writeUpdate } from "y-protocols/sync"
import * as Y from "yjs"
import { LumenizeError } from "../src/errors.js"
import { AUTH, AWARENESS, CLOSE, other, Server, SYNC } from "./document-server.js"

let server: Server
beforeEach(() => void (server = new Server()))
afterEach(() => {
  vi.restoreAllMocks()
  server.client.destroy()
})

const type = (text: string): void => server.client.doc.getText("t").insert(0, text)

const refused = { code: "PERMISSION_DENIED", details: { document: "documents/d" } }

it("says to who may only read that an edit is not saved, whenever they ask", async () => {
  server.let("readonly")
  type("a")
  const before = server.client.whenSaved()
  server.ask()
  server.confirm(0)
  await expect(before).rejects.toMatchObject(refused)
  await expect(server.client.whenSaved()).rejects.toMatchObject(refused)
  expect([server.client.state, server.client.error]).toEqual(["readonly", null])
})

it("is saved for who may only read and has nothing that the server lacks", async () => {
  const given = new Y.Doc()
  given.getText("t").insert(0, "kept")
  const mine = new Server("documents/d", given)
  mine.let("readonly")
  const saved = mine.client.whenSaved()
  mine.ask()
  mine.confirm(1)
  await saved
  mine.client.destroy()
})

it("says after a refused edit that it is not saved, until the next connection takes it", async () => {
  server.begin()
  type("a")
  server.confirm(0)
  await expect(server.client.whenSaved()).rejects.toMatchObject(refused)
  expect(server.client.error).toMatchObject(refused)
  const states: unknown[] = []
  server.client.onState((state) => states.push([state, server.client.error]))
  server.cut()
  const saved = server.client.whenSaved()
  server.back()
  server.begin()
  await saved
  expect(states).toEqual([["offline", null], ["saving", null], ["saved", null]])
})

it.each([
  ["has given up", new LumenizeError("AUTHENTICATION_FAILED", "no"), { code: "AUTHENTICATION_FAILED" }],
  ["is disconnected", null, { code: "CONNECTION_LOST", message: "disconnected" }],
])("makes nobody wait while the client %s, and goes on with the next connection", async (_, error, said) => {
  const { client } = server
  type("a")
  server.stop(error)
  await expect(client.whenSaved()).rejects.toMatchObject(said)
  await expect(client.synced).rejects.toMatchObject(said)
  expect(client.error).toBe(error)
  server.back()
  const [saved, synced] = [client.whenSaved(), client.synced]
  server.begin()
  await Promise.all([saved, synced])
  expect(client.error).toBeNull()
  server.stop(error)
  await Promise.all([client.whenSaved(), client.synced])
})

it("settles what somebody asks for once it is closed", async () => {
  type("a")
  server.client.destroy()
  for (const late of [server.client.whenSaved(), server.client.synced]) {
    await expect(late).rejects.toMatchObject({ code: "CONNECTION_LOST", message: "documents/d was closed" })
  }
  const other = new Server()
  other.say(CLOSE, (encoder) => encoding.writeVarString(encoder, "NOT_FOUND: it was deleted"))
  await expect(other.client.synced).rejects.toMatchObject({ code: "NOT_FOUND" })
  await other.client.whenSaved() // there is nothing to save
})

const bytes = (encoder: encoding.Encoder, ...body: number[]): void => encoding.writeVarUint8Array(encoder, new Uint8Array(body))

it.each<[string, number, (encoder: encoding.Encoder) => void]>([
  ["an update that is none", SYNC, (encoder) => (encoding.writeVarUint(encoder, 2), bytes(encoder, 255, 255, 255))],
  ["an update that is cut off", SYNC, (encoder) => (encoding.writeVarUint(encoder, 2), encoding.writeVarUint(encoder, 9))],
  ["a state vector that is none", SYNC, (encoder) => (encoding.writeVarUint(encoder, 0), bytes(encoder, 255, 255))],
  ["people that are none", AWARENESS, (encoder) => bytes(encoder, 1, 7, 1, 1, 123)],
  ["a right without a name", AUTH, (encoder) => encoding.writeVarUint(encoder, 2)],
])("takes %s for a frame that cannot be read", (_, kind, write) => {
  server.begin()
  expect(() => server.say(kind, write)).toThrow()
})

it("applies an update, and tells who else observes it, when an observer throws", () => {
  const reported = vi.spyOn(console, "error").mockImplementation(() => {})
  server.begin()
  const heard: string[] = []
  const text = server.client.doc.getText("t")
  text.observe(() => {
    throw new Error("mine")
  })
  text.observe(() => heard.push("other"))
  server.doc.on("update", (update: Uint8Array) => server.say(SYNC, (encoder) => writeUpdate(encoder, update)))
  server.doc.getText("t").insert(0, "theirs")
  expect([text.toString(), heard, reported.mock.calls.length, server.client.state]).toEqual(["theirs", ["other"], 1, "saved"])
})

it("goes on when a listener of the awareness throws: to send, to lose its connection and to be destroyed", () => {
  const reported = vi.spyOn(console, "error").mockImplementation(() => {})
  server.begin()
  const { awareness, doc } = server.client
  const heard: string[] = []
  for (const name of ["change", "update", "destroy"]) {
    awareness.on(name, () => {
      throw new Error("mine")
    })
    awareness.on(name, () => heard.push(name))
  }
  other(server, "ada")
  expect(awareness.getStates().get(7)).toEqual({ name: "ada" })
  server.sent.length = 0
  awareness.setLocalState({ name: "me" })
  expect(server.types).toEqual([AWARENESS])
  server.cut()
  expect(awareness.getStates().has(7)).toBe(false)
  server.back()
  server.sent.length = 0
  server.client.destroy()
  expect([server.types, doc.isDestroyed, server.ended]).toEqual([[AWARENESS, CLOSE], true, 1])
  expect(heard).toContain("destroy")
  expect(reported).toHaveBeenCalled()
})

it("tells that a state cannot be sent, goes on with edits and connections, and shows the next state", () => {
  server.begin()
  const errors: LumenizeError[] = []
  server.client.onError((error) => errors.push(error))
  server.client.awareness.setLocalState({ at: 1n })
  expect(errors).toMatchObject([{ code: "INVALID_REQUEST" }])
  server.cut()
  server.back()
  server.begin()
  type("a")
  expect([server.client.error, server.client.state]).toMatchObject([{ code: "INVALID_REQUEST" }, "saving"])
  server.client.awareness.setLocalState({ at: 1 })
  expect(server.client.error).toBeNull()
})

it("tells its states in order when a listener causes the next, and nothing to one that was removed", () => {
  server.begin()
  const heard: string[] = []
  server.client.onState((state) => {
    if (state === "saving") server.client.destroy()
    remove()
  })
  const remove = server.client.onState(() => heard.push("removed"))
  server.client.onState((state) => heard.push(state))
  type("a")
  expect(heard).toEqual(["saving", "closed"])
})

it("sends every edit, and tells who else listens, when a listener of the document throws", () => {
  const reported = vi.spyOn(console, "error").mockImplementation(() => {})
  const given = new Y.Doc()
  const fails = (): never => {
    throw new Error("mine")
  }
  given.on("update", fails)
  const mine = new Server("documents/d", given)
  mine.begin()
  for (const name of ["update", "beforeTransaction", "afterTransaction", "afterTransactionCleanup"] as const) given.on(name, fails)
  const heard: string[] = []
  given.on("afterAllTransactions", () => heard.push("edit"))
  mine.sent.length = 0
  given.getText("t").insert(0, "a")
  given.getText("t").insert(0, "b")
  expect([mine.types, mine.client.saved, heard]).toEqual([[SYNC, SYNC], false, ["edit", "edit"]])
  mine.doc.on("update", (update: Uint8Array) => mine.say(SYNC, (encoder) => writeUpdate(encoder, update)))
  mine.doc.getText("t").insert(0, "theirs")
  expect(given.getText("t").toString()).toContain("theirs")
  expect(reported).toHaveBeenCalled()
  mine.client.destroy()
})
