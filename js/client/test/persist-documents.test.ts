/** Documents that are kept: of a page that is reloaded without network, and of tabs beside each other. */
import "fake-indexeddb/auto"
import { openDB } from "idb"
import * as decoding from "lib0/decoding"
import * as encoding from "lib0/encoding"
import { afterEach, beforeEach, expect, it, vi } from "vitest"
import { messageYjsSyncStep1, readSyncMessage, writeSyncStep1 } from "y-protocols/sync"
import * as Y from "yjs"
import { CORE } from "../src/core.js"
import type { OpenDocument } from "../src/documents.js"
import { LumenizeClient, type LumenizeError } from "../src/index.js"
import type { DatabaseKeeper } from "../src/persist/keeper.js"
import { Store } from "../src/persist/store.js"
import { ScriptedSocket } from "./scripted.js"

const [SYNC, AUTH, CLOSE, STATUS] = [0, 2, 7, 8]
let count = 0
let name = ""
const pages: Page[] = []
/** What the server has of the document. */
let served: Y.Doc

beforeEach(() => {
  name = `documents ${++count}`
  served = new Y.Doc()
})
afterEach(() => {
  for (const page of pages.splice(0)) page.close()
})

/** A tab, and the server's side of it: it answers while `online`. */
class Page {
  online = false
  refuses = ""
  private readonly sockets: ScriptedSocket[] = []
  readonly client: LumenizeClient
  readonly errors: LumenizeError[] = []
  /** Names under which documents were opened. */
  readonly opened = new Set<string>()

  constructor(online = false) {
    const page = this
    class Socket extends ScriptedSocket {
      constructor(url: string) {
        super(url)
        page.sockets.push(this)
        if (page.online) queueMicrotask(() => this.welcome({}, "ada"))
      }

      override send(data: string | Uint8Array): void {
        super.send(data)
        if (typeof data !== "string") page.answer(this, data)
      }
    }
    this.online = online
    this.client = new LumenizeClient({ WebSocket: Socket, userId: "ada", persist: { name }, websocket: { initialDelay: 5, maxDelay: 5 } })
    this.client.onError((error) => this.errors.push(error))
    this.client.connect().catch(() => {})
    pages.push(this)
  }

  connect(): void {
    this.online = true
    for (const socket of this.sockets.slice(-1)) socket.welcome({}, "ada")
  }

  cut(): void {
    this.online = false
    this.sockets.at(-1)?.end()
  }

  close(): void {
    ;(this.client[CORE].keeper as DatabaseKeeper | null)?.close()
    void this.client.disconnect()
  }

  private answer(socket: ScriptedSocket, frame: Uint8Array): void {
    const decoder = decoding.createDecoder(frame)
    const address = decoding.readVarString(decoder)
    const say = (type: number, write: (encoder: encoding.Encoder) => void): void => {
      const encoder = encoding.createEncoder()
      encoding.writeVarString(encoder, address)
      encoding.writeVarUint(encoder, type)
      write(encoder)
      queueMicrotask(() => socket.sayBytes(...encoding.toUint8Array(encoder)))
    }
    if (decoding.readVarUint(decoder) !== SYNC) return
    if (this.refuses !== "") return say(CLOSE, (encoder) => encoding.writeVarString(encoder, this.refuses))
    this.opened.add(address)
    const reply = encoding.createEncoder()
    const kind = readSyncMessage(decoder, reply, served, null)
    if (kind !== messageYjsSyncStep1) return say(STATUS, (encoder) => encoding.writeVarUint(encoder, 1))
    say(AUTH, (encoder) => (encoding.writeVarUint(encoder, 2), encoding.writeVarString(encoder, "read-write")))
    say(SYNC, (encoder) => encoding.writeUint8Array(encoder, encoding.toUint8Array(reply)))
    say(SYNC, (encoder) => writeSyncStep1(encoder, served))
  }
}

const textOf = ({ doc }: { doc: Y.Doc }): string => doc.getText("content").toString()
const until = (check: () => void | Promise<void>): Promise<void> => vi.waitFor(check, { timeout: 8000 })

async function items(): Promise<{ unsaved: boolean }[]> {
  const database = await openDB(name)
  const all = await database.getAll("items")
  database.close()
  return all
}

/** A page that has known the document, and edits it without network. */
async function edited(text: string): Promise<Page> {
  const page = new Page(true)
  const open = await page.client.documents.open("d")
  await open.synced
  await until(async () => expect((await items()).length).toBe(1))
  page.cut()
  open.doc.getText("content").insert(0, text)
  expect(open.state).toBe("offline")
  await until(async () => expect((await items()).map(({ unsaved }) => unsaved)).toEqual([true]))
  return page
}

it("shows a document's text after a reload without network, and sends what was written, once", async () => {
  served.getText("content").insert(0, "served ")
  const before = await edited("mine ")
  before.close()

  const after = new Page()
  const open = await after.client.documents.open("d")
  expect(textOf(open)).toBe("mine served ")
  expect([open.state, open.saved]).toEqual(["offline", false])
  after.connect()
  await open.whenSaved()
  expect(textOf({ doc: served })).toBe("mine served ")
  // it is noted as saved, so that it need not be sent again
  await until(async () => expect((await items()).map(({ unsaved }) => unsaved)).toEqual([false]))
  after.close()
  const last = new Page()
  const again = await last.client.documents.open("d")
  expect([textOf(again), again.state]).toEqual(["mine served ", "saved"])
})

it("sends what is kept of a document that nobody opens again", async () => {
  const before = await edited("mine")
  before.close()
  const after = new Page(true)
  await until(() => expect(textOf({ doc: served })).toBe("mine"))
  await until(async () => expect((await items()).map(({ unsaved }) => unsaved)).toEqual([false]))
  expect([...after.opened].map((address) => address.split("\0")[0])).toEqual(["documents/d"])
})

it("counts documents with unsaved edits until the server has them, and signing out then loses nothing", async () => {
  const counts: number[] = []
  const before = await edited("mine")
  expect(before.client.pending).toBe(1)
  before.close()
  const after = new Page()
  await until(() => expect(after.client.pending).toBe(1))
  after.client.onPending((count) => counts.push(count))
  let saved = false
  const saving = after.client.saved().then(() => (saved = true))
  await new Promise((resolve) => setTimeout(resolve, 50))
  expect(saved).toBe(false)
  after.connect()
  await saving
  expect(textOf({ doc: served })).toBe("mine")
  expect([after.client.pending, counts.at(-1)]).toEqual([0, 0])
  await after.client.signOut()
  expect(await items()).toEqual([])
})

it("counts a document that was closed with unsaved edits, and sends it once there is a network", async () => {
  const page = await edited("mine")
  const open = await page.client.documents.open("d")
  open.destroy()
  expect(page.client.pending).toBe(1)
  const saving = page.client.saved()
  page.connect()
  await saving
  expect([textOf({ doc: served }), page.client.pending]).toEqual(["mine", 0])
})

it("does not wait for edits that the server refuses", async () => {
  const before = await edited("mine")
  before.close()
  const after = new Page()
  await until(() => expect(after.client.pending).toBe(1))
  after.refuses = "PERMISSION_DENIED: no"
  after.connect()
  await after.client.saved()
  await until(() => expect(after.client.pending).toBe(0))
})

it("merges what two tabs write without network, in both", async () => {
  const one = await edited("one ")
  const two = new Page()
  const there = await two.client.documents.open("d")
  expect(textOf(there)).toBe("one ")
  const here: OpenDocument = await one.client.documents.open("d")
  there.doc.getText("content").insert(4, "two")
  await until(() => expect(textOf(here)).toBe("one two"))
  here.doc.getText("content").insert(0, "zero ")
  await until(() => expect(textOf(there)).toBe("zero one two"))
  // either may send all of it
  one.close()
  two.connect()
  await there.whenSaved()
  expect(textOf({ doc: served })).toBe("zero one two")
})

it("erases a document that the user may no longer read, and keeps one that is only closed", async () => {
  served.getText("content").insert(0, "secret")
  const page = new Page(true)
  const open = await page.client.documents.open("d")
  await open.synced
  await until(async () => expect((await items()).length).toBe(1))
  open.destroy()
  page.refuses = "PERMISSION_DENIED: no"
  const refused = await page.client.documents.open("d")
  expect(textOf(refused)).toBe("secret")
  await until(() => expect(refused.state).toBe("closed"))
  await until(async () => expect(await items()).toEqual([]))
})

it("makes one part of many, and loses none of them", async () => {
  const page = new Page(true)
  const open = await page.client.documents.open("d")
  await open.synced
  for (let n = 0; n < 250; n++) {
    open.doc.getText("content").insert(0, `${n} `)
    await new Promise((resolve) => setImmediate(resolve))
  }
  await open.whenSaved()
  await until(async () => {
    const database = await openDB(name)
    const parts = await database.count("updates")
    database.close()
    expect(parts).toBeLessThan(20)
  })
  const text = textOf(open)
  page.close()
  const after = new Page()
  expect(textOf(await after.client.documents.open("d"))).toBe(text)
})

it("drops a part that cannot be read, says so, and shows the others", async () => {
  served.getText("content").insert(0, "served ")
  const before = await edited("mine ")
  before.close()
  const database = await openDB(name)
  const [key] = (await database.getAllKeys("updates")) as [[string, string, number, string]]
  await database.put("updates", { update: new Uint8Array([255, 255, 7]), unsaved: false }, [key[0], key[1], 1, "x"])
  await database.put("updates", "nothing", [key[0], key[1], 2, "x"])
  database.close()
  const after = new Page()
  const open = await after.client.documents.open("d")
  expect(textOf(open)).toBe("mine served ")
  expect(after.errors.filter(({ code }) => code === "STORAGE_FAILED").map(({ details }) => details)).toEqual([
    { reason: "corrupt", entries: "documents", document: "documents/d" },
  ])
  after.connect()
  await open.whenSaved()
})

it("keeps what a document contained before it was known whose it is", async () => {
  const page = new Page()
  const given = new Y.Doc()
  given.getText("content").insert(0, "given")
  const open = await page.client.documents.open("d", { doc: given })
  page.connect()
  await open.whenSaved()
  await until(async () => expect((await items()).length).toBe(1))
  page.close()
  const after = new Page()
  expect(textOf(await after.client.documents.open("d"))).toBe("given")
})

it("shows all that was written before it was closed in a document that is opened again without network, twice", async () => {
  const page = await edited("1")
  for (const more of ["23", "45"]) {
    const open = await page.client.documents.open("d")
    const text = open.doc.getText("content")
    for (const each of more) {
      text.insert(text.length, each)
      await Promise.resolve()
    }
    const whole = textOf(open)
    open.destroy()
    const again = await page.client.documents.open("d")
    expect([textOf(again), again.state]).toEqual([whole, "offline"])
  }
  page.close()
  const after = new Page()
  expect(textOf(await after.client.documents.open("d"))).toBe("12345")
  after.connect()
  await until(() => expect(textOf({ doc: served })).toBe("12345"))
})

it("keeps the whole of an open document of which another tab has dropped what was kept", async () => {
  served.getText("content").insert(0, "served ")
  const page = await edited("mine ")
  const database = await openDB(name)
  for (const store of ["items", "updates"]) await database.clear(store)
  database.close()
  const open = await page.client.documents.open("d")
  open.doc.getText("content").insert(0, "more ")
  const whole = new Y.Doc()
  await until(async () => {
    const read = await openDB(name)
    for (const { update } of await read.getAll("updates")) Y.applyUpdate(whole, update as Uint8Array)
    read.close()
    expect(textOf({ doc: whole })).toBe("more mine served ")
  })
})

it("binds a document that opens to nobody's store but that of the user of the session", async () => {
  const page = await edited("mine")
  page.close()
  const after = new Page()
  await until(() => expect(after.client[CORE].keeper).not.toBe(null))
  await after.client[CORE].loading
  const { parts } = Store.prototype
  let release = (): void => {}
  vi.spyOn(Store.prototype, "parts").mockImplementationOnce(async function (this: Store, ...given) {
    const found = await parts.apply(this, given)
    await new Promise<void>((resolve) => (release = resolve))
    return found
  })
  const opening = after.client.documents.open("d")
  await until(() => expect(Store.prototype.parts).toHaveBeenCalled())
  after.client.connect({ userId: "bob" }).catch(() => {})
  await new Promise((resolve) => setTimeout(resolve, 20))
  release()
  const open = await opening
  expect([textOf(open), open.saved]).toEqual(["", true])
  open.doc.getText("content").insert(0, "bob's")
  await new Promise((resolve) => setTimeout(resolve, 50))
  const text = new Y.Doc()
  const read = await openDB(name)
  for (const { update } of await read.getAll("updates")) Y.applyUpdate(text, update as Uint8Array)
  read.close()
  expect(textOf({ doc: text })).toBe("mine")
})
