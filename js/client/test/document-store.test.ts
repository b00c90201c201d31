/** A document as a store: its error lasts as long as its reason, and edits outlive the components that made them. */
import * as decoding from "lib0/decoding"
import * as encoding from "lib0/encoding"
import { afterEach, beforeEach, expect, it, vi } from "vitest"
import { writeSyncStep1, writeSyncStep2 } from "y-protocols/sync"
import * as Y from "yjs"
import { LumenizeClient, type LumenizeError } from "../src/index.js"
import { documentStore, type DocumentState, type Store } from "../src/stores/index.js"
import { ScriptedSocket, settle } from "./scripted.js"

const [SYNC, AUTH, CLOSE, STATUS] = [0, 2, 7, 8]

let client: LumenizeClient
let told: LumenizeError[]
let store: Store<DocumentState>
let leave: () => void

beforeEach(async () => {
  client = new LumenizeClient({ WebSocket: ScriptedSocket.fresh(), websocket: { initialDelay: 1, maxDelay: 1 } })
  told = []
  client.onError((error) => told.push(error))
  await connect()
  store = documentStore(client, "d")
  leave = store.subscribe(() => {})
  await until(() => store.getSnapshot().doc !== null)
})
afterEach(() => {
  vi.restoreAllMocks()
  return client.disconnect()
})

const until = (condition: () => boolean): Promise<void> => vi.waitFor(() => expect(condition()).toBe(true))

async function connect(): Promise<void> {
  const before = ScriptedSocket.all.length
  const connected = client.connect()
  await until(() => ScriptedSocket.all.length > before)
  ScriptedSocket.last.welcome()
  await connected
}

/** The connection breaks, and the client comes back by itself. */
async function cut(): Promise<void> {
  const before = ScriptedSocket.all.length
  ScriptedSocket.last.end(1006)
  await until(() => ScriptedSocket.all.length > before)
  ScriptedSocket.last.welcome()
  await settle()
}

function say(type: number, write: (encoder: encoding.Encoder) => void, address = "documents/d"): void {
  const encoder = encoding.createEncoder()
  encoding.writeVarString(encoder, address)
  encoding.writeVarUint(encoder, type)
  write(encoder)
  ScriptedSocket.last.sayBytes(...encoding.toUint8Array(encoder))
}

const status = (saved: number): void => say(STATUS, (encoder) => encoding.writeVarUint(encoder, saved))
const refuse = (reason: string): void => say(CLOSE, (encoder) => encoding.writeVarString(encoder, reason))

/** The server sends its state, asks for the client's, and saves that. */
async function begin(saved = 1): Promise<void> {
  const doc = new Y.Doc()
  say(AUTH, (encoder) => (encoding.writeVarUint(encoder, 2), encoding.writeVarString(encoder, "read-write")))
  say(SYNC, (encoder) => writeSyncStep1(encoder, doc))
  say(SYNC, (encoder) => writeSyncStep2(encoder, doc))
  status(saved)
  await settle()
}

const edit = (text = "x"): void => store.getSnapshot().doc?.getText("t").insert(0, text)

/** Whether the last connection was told that the document is closed. */
const isClosed = (): boolean =>
  ScriptedSocket.last.frames.some((frame) => {
    const decoder = decoding.createDecoder(frame)
    return decoding.readVarString(decoder) === "documents/d" && decoding.readVarUint(decoder) === CLOSE
  })

it("shows that an edit was refused until the next connection has taken it", async () => {
  await begin()
  edit()
  status(0)
  expect(store.getSnapshot()).toMatchObject({ state: "saving", error: { code: "PERMISSION_DENIED" } })
  await cut()
  expect(store.getSnapshot()).toMatchObject({ state: "saving", error: null })
  await begin()
  expect(store.getSnapshot()).toMatchObject({ state: "saved", synced: true, error: null })
})

it("shows that the client has given up until it connects again, also if it was synced before", async () => {
  await begin()
  ScriptedSocket.last.end(4403, "no")
  expect(store.getSnapshot()).toMatchObject({ synced: true, error: { code: "PERMISSION_DENIED" } })
  await connect()
  expect(store.getSnapshot()).toMatchObject({ synced: true, error: null })
})

it("shows that the awareness state is too large until a smaller one is sent", async () => {
  await begin()
  store.getSnapshot().awareness?.setLocalState({ at: 1n })
  expect(store.getSnapshot()).toMatchObject({ state: "saved", error: { code: "INVALID_REQUEST" } })
  store.getSnapshot().awareness?.setLocalState({ at: 1 })
  expect(store.getSnapshot()).toMatchObject({ state: "saved", error: null })
})

it("shows no error after disconnect(), and arrives with the next connection", async () => {
  await client.disconnect()
  await settle()
  expect(store.getSnapshot()).toMatchObject({ synced: false, error: null })
  await connect()
  await begin()
  expect(store.getSnapshot()).toMatchObject({ synced: true, error: null })
})

it.each([
  ["there is no error", () => {}],
  ["an edit was refused", () => status(0)],
  ["the awareness state cannot be sent", () => store.getSnapshot().awareness?.setLocalState({ at: 1n })],
])("keeps unsaved edits after the last component has left while %s, and closes once they are saved", async (_, fail) => {
  await begin()
  edit("kept")
  fail()
  leave()
  await settle()
  expect(isClosed()).toBe(false)
  await cut()
  await begin()
  expect(isClosed()).toBe(true)
})

it("keeps them after the client has given up, and gives them to a component that comes back", async () => {
  await begin()
  edit("kept")
  ScriptedSocket.last.end(4403, "no")
  leave()
  await settle()
  const again = documentStore(client, "d")
  again.subscribe(() => {})
  await until(() => again.getSnapshot().doc !== null)
  expect(again.getSnapshot()).toMatchObject({ state: "offline", error: { code: "PERMISSION_DENIED" } })
  expect(again.getSnapshot().doc?.getText("t").toString()).toBe("kept")
  await connect()
  await begin()
  expect(again.getSnapshot()).toMatchObject({ state: "saved", error: null })
})

it("tells the client if edits are lost that no component shows any more", async () => {
  await begin()
  edit()
  leave()
  await settle()
  refuse("NOT_FOUND: it was deleted")
  expect(told).toMatchObject([{ code: "NOT_FOUND", message: "documents/d: it was deleted" }])
})

it("closes what may not be opened, and opens it anew with the next session", async () => {
  refuse("PERMISSION_DENIED: no")
  await settle()
  expect(store.getSnapshot()).toMatchObject({ state: "closed", error: { code: "PERMISSION_DENIED" } })
  await cut()
  await until(() => store.getSnapshot().error === null)
  expect(store.getSnapshot().doc?.isDestroyed).toBe(false)
})

it("refuses a name that is none with a typed error", () => {
  expect(() => documentStore(client, undefined as never)).toThrow(expect.objectContaining({ code: "INVALID_REQUEST" }) as Error)
})

it("ends the connection for good at a frame that cannot be read", async () => {
  await begin()
  const gone = vi.fn()
  client.onDisconnect(gone)
  say(SYNC, (encoder) => (encoding.writeVarUint(encoder, 2), encoding.writeVarUint8Array(encoder, new Uint8Array([255, 255]))))
  expect(gone).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ code: "INTERNAL_ERROR" }))
  expect([client.isConnected(), ScriptedSocket.last.closed, store.getSnapshot().error?.code]).toEqual([false, true, "INTERNAL_ERROR"])
  edit()
  expect(store.getSnapshot().state).toBe("offline")
})

it("is opened with the next session if it could not be opened at all", async () => {
  const open = vi.spyOn(client.documents, "open").mockRejectedValueOnce(new TypeError("cannot load the module"))
  const other = documentStore(client, "other")
  other.subscribe(() => {})
  await until(() => other.getSnapshot().error !== null)
  expect(other.getSnapshot()).toMatchObject({ doc: null, error: { code: "INTERNAL_ERROR" } })
  await cut()
  await until(() => other.getSnapshot().doc !== null)
  expect([other.getSnapshot().error, open.mock.calls.length]).toEqual([null, 2])
})

it("tells all documents that the client has given up, though the first that hears it connects again", async () => {
  const [one, two] = [await client.documents.open("one"), await client.documents.open("two")]
  const heard: string[] = []
  one.onError(() => void client.connect())
  two.onError(({ code }) => heard.push(code))
  const waiting = [one.synced, two.synced]
  ScriptedSocket.last.end(4403, "no")
  for (const each of waiting) await expect(each).rejects.toMatchObject({ code: "PERMISSION_DENIED" })
  expect(heard).toEqual(["PERMISSION_DENIED"])
})
