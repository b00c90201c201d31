import * as encoding from "lib0/encoding"
import { afterEach, beforeEach, expect, it, vi } from "vitest"
import { writeUpdate } from "y-protocols/sync"
import * as Y from "yjs"
import { LumenizeError } from "../src/errors.js"
import { AUTH, AWARENESS, CLOSE, other, Server, SYNC } from "./document-server.js"
import { settle } from "./scripted.js"

let server: Server
beforeEach(() => void (server = new Server()))
afterEach(() => server.client.destroy())

const type = (text: string): void => server.client.doc.getText("t").insert(0, text)

it("shows its session's token, asks for the document, and says who is there", async () => {
  expect(server.types).toEqual([AUTH, SYNC, AWARENESS])
  server.doc.getText("t").insert(0, "there")
  server.begin()
  await server.client.synced
  expect(server.client.doc.getText("t").toString()).toBe("there")
  expect(server.types).toEqual([SYNC])
})

it("is saved once everything it sent is confirmed, and not before", async () => {
  server.begin()
  const states: string[] = []
  server.client.onState((state) => states.push(state))
  type("a")
  type("b")
  const saved = server.client.whenSaved()
  server.confirm()
  expect([server.client.saved, server.client.state]).toEqual([false, "saving"])
  server.confirm()
  await saved
  expect([server.client.saved, states]).toEqual([true, ["saving", "saved"]])
})

it("is saved when the edit is confirmed for which the server asked again", () => {
  server.begin()
  type("a")
  server.ask() // the server lacks something, and confirms the edit with the answer
  expect(server.client.saved).toBe(false)
  server.confirm()
  expect(server.client.saved).toBe(true)
})

it("sends what was written before the server asks with the answer to its question, once", () => {
  type("early")
  expect(server.types).toEqual([AUTH, SYNC, AWARENESS])
  server.let("read-write")
  server.ask()
  expect(server.types).toEqual([SYNC])
  server.confirm()
  expect(server.client.saved).toBe(true)
})

it("keeps edits while there is no connection, and sends them with the next one", () => {
  server.begin()
  type("a")
  server.cut()
  type("b")
  expect(server.client.state).toBe("offline")
  server.sent.length = 0
  server.back()
  expect([server.client.state, server.types]).toEqual(["saving", [AUTH, SYNC, AWARENESS]])
  server.begin()
  expect(server.client.state).toBe("saved")
})

it("says that it may only read", () => {
  server.let("readonly")
  type("a")
  server.ask()
  server.confirm(0)
  expect([server.client.state, server.client.saved]).toEqual(["readonly", false])
})

it("tells an edit that was refused, and is not saved", async () => {
  const errors: LumenizeError[] = []
  server.begin()
  type("a")
  const saved = server.client.whenSaved()
  server.client.onError((error) => errors.push(error))
  server.confirm(0)
  await expect(saved).rejects.toMatchObject({ code: "PERMISSION_DENIED" })
  expect([errors.length, server.client.saved]).toEqual([1, false])
})

it("ends when it may not be opened, and does not come back", async () => {
  const errors: LumenizeError[] = []
  server.client.onError((error) => errors.push(error))
  server.say(AUTH, (encoder) => {
    encoding.writeVarUint(encoder, 1)
    encoding.writeVarString(encoder, "permission-denied")
  })
  await expect(server.client.synced).rejects.toMatchObject({ code: "PERMISSION_DENIED", details: { document: "documents/d" } })
  server.sent.length = 0
  type("a")
  server.cut()
  server.back()
  expect([errors.length, server.client.state, server.types, server.ended]).toEqual([1, "closed", [], 1])
})

it("ends when the server closes it", () => {
  server.begin()
  server.say(CLOSE, (encoder) => encoding.writeVarString(encoder, "rights"))
  expect(server.client.state).toBe("closed")
})

it("answers a server that asks for the next token", () => {
  server.begin()
  server.sent.length = 0
  server.say(AUTH, (encoder) => encoding.writeVarUint(encoder, 0))
  expect(server.types).toEqual([AUTH])
})

it("does not listen to what is meant for another opening of it", () => {
  server.say(CLOSE, (encoder) => encoding.writeVarString(encoder, "closed"), "documents/d\x009")
  expect(server.client.state).not.toBe("closed")
})

it("raises its clock when the server asks for that, and says nothing about others", () => {
  server.begin()
  server.sent.length = 0
  const { awareness, doc } = server.client
  const clock = awareness.meta.get(doc.clientID)?.clock ?? 0
  server.say(AWARENESS, (encoder) => {
    const inner = encoding.createEncoder()
    encoding.writeVarUint(inner, 1)
    encoding.writeVarUint(inner, doc.clientID)
    encoding.writeVarUint(inner, clock + 1)
    encoding.writeVarString(inner, "null")
    encoding.writeVarUint8Array(encoder, encoding.toUint8Array(inner))
  })
  expect(server.types).toEqual([AWARENESS])
  expect(awareness.meta.get(doc.clientID)?.clock).toBeGreaterThan(clock + 1)
  other(server, "ada")
  expect(server.types).toEqual([])
})

it("forgets the others with the connection, and sees them at once after it, whatever their clock", () => {
  server.begin()
  other(server, "ada")
  expect(server.client.awareness.getStates().get(7)).toEqual({ name: "ada" })
  server.cut()
  expect(server.client.awareness.getStates().has(7)).toBe(false)
  server.back()
  other(server, "ada")
  expect(server.client.awareness.getStates().get(7)).toEqual({ name: "ada" })
})

it("does not send edits of others back", () => {
  server.begin()
  server.sent.length = 0
  server.doc.on("update", (update: Uint8Array) => server.say(SYNC, (encoder) => writeUpdate(encoder, update)))
  server.doc.getText("t").insert(0, "theirs")
  expect([server.client.doc.getText("t").toString(), server.types, server.client.saved]).toEqual(["theirs", [], true])
})

it("says goodbye once when it is destroyed", async () => {
  server.sent.length = 0
  server.client.destroy()
  server.client.destroy()
  expect([server.types, server.client.state, server.ended]).toEqual([[AWARENESS, CLOSE], "closed", 1])
  await expect(server.client.synced).rejects.toMatchObject({ code: "CONNECTION_LOST" })
  type("after")
  await expect(server.client.whenSaved()).resolves.toBeUndefined()
})

it("can be taken apart", () => {
  const { doc, destroy, onState } = server.client
  const states: string[] = []
  onState((state) => states.push(state))
  destroy()
  expect([doc.isDestroyed, states]).toEqual([true, ["closed"]])
})

it("does not keep Node alive", () => {
  const { _checkInterval: timer } = server.client.awareness as unknown as { _checkInterval: NodeJS.Timeout }
  expect(timer.hasRef()).toBe(false)
  vi.restoreAllMocks()
})

it("takes a document that exists, whose content is not saved before the server has it, and leaves it alone at the end", async () => {
  const given = new Y.Doc()
  given.getText("content").insert(0, "kept")
  const mine = new Server("documents/d", given)
  expect([mine.client.doc === given, mine.client.saved]).toEqual([true, false])
  mine.begin()
  await mine.client.whenSaved()
  expect(mine.doc.getText("content").toString()).toBe("")
  mine.client.destroy()
  expect([given.isDestroyed, given.getText("content").toString()]).toEqual([false, "kept"])
})

it("ends with an edit that is larger than the server takes", async () => {
  server.begin()
  server.refusal = new LumenizeError("INVALID_REQUEST", "too large")
  const failed: LumenizeError[] = []
  server.client.onError((error) => failed.push(error))
  type("a")
  await settle()
  expect(failed).toMatchObject([{ code: "INVALID_REQUEST" }])
  expect([server.client.state, server.client.saved]).toEqual(["closed", false])
  await expect(server.client.whenSaved()).rejects.toMatchObject({ code: "INVALID_REQUEST" })
})

it("does not send what one user has written as another's", () => {
  server.begin()
  const error = new LumenizeError("AUTHENTICATION_FAILED", "another user")
  server.attached?.userChanged(error)
  expect(server.client.state).toBe("saved")
  server.cut()
  type("a")
  server.attached?.userChanged(error)
  expect(server.client.state).toBe("closed")
  server.types
  server.back()
  expect(server.types).toEqual([])
})

it("tells who waits for it when the client gives up, and goes on with the next connection", async () => {
  const { client } = server
  const told: LumenizeError[] = []
  client.onError((error) => told.push(error))
  const first = client.synced
  client.doc.getText("content").insert(0, "kept")
  const saved = client.whenSaved()
  const wrong = new LumenizeError("AUTHENTICATION_FAILED", "no")
  server.stop(wrong)
  await expect(first).rejects.toBe(wrong)
  await expect(saved).rejects.toBe(wrong)
  expect([told, client.state]).toEqual([[wrong], "offline"])
  server.back()
  server.answer()
  await client.synced
})

it("settles what waits when the client is disconnected, or the document destroyed", async () => {
  const { client } = server
  client.doc.getText("content").insert(0, "x")
  const waiting = [client.synced, client.whenSaved()]
  server.stop(null)
  for (const each of waiting) await expect(each).rejects.toMatchObject({ code: "CONNECTION_LOST", message: "disconnected" })
  const again = [client.synced, client.whenSaved()]
  client.destroy()
  for (const each of again) await expect(each).rejects.toMatchObject({ code: "CONNECTION_LOST" })
})

it("goes on with edits when what it shows others is too large", async () => {
  const { client } = server
  const told: LumenizeError[] = []
  client.onError((error) => told.push(error))
  server.refusal = new LumenizeError("INVALID_REQUEST", "too large")
  client.awareness.setLocalState({ avatar: "x" })
  await settle()
  server.refusal = null
  expect([told, client.state]).toEqual([[expect.objectContaining({ code: "INVALID_REQUEST" })], "saved"])
  server.ask()
  client.doc.getText("content").insert(0, "x")
  expect(client.state).toBe("saving")
})

it("is told the code of a refusal where the server says one", async () => {
  server.say(CLOSE, (encoder) => encoding.writeVarString(encoder, "NOT_FOUND: it was deleted"))
  await expect(server.client.synced).rejects.toMatchObject({ code: "NOT_FOUND", message: "documents/d: it was deleted" })
  expect(server.client.state).toBe("closed")
})

it("gives the same promise of the server's state each time, and another one when the client connects again", async () => {
  const { client } = server
  const first = client.synced
  expect(client.synced).toBe(first)
  server.stop(null)
  const second = client.synced
  expect([second === first, client.synced === second]).toEqual([false, true])
  for (const each of [first, second]) await expect(each).rejects.toMatchObject({ code: "CONNECTION_LOST" })
  server.back()
  const third = client.synced
  expect([third === second, client.synced === third]).toEqual([false, true])
  server.begin()
  await third
  expect(client.synced).toBe(third)
})
