/** Pages that keep their state, each with a database of its own for each test. */
import "fake-indexeddb/auto"
import { openDB } from "idb"
import { afterEach, beforeEach, expect, vi } from "vitest"
import { CORE } from "../src/core.js"
import { LumenizeClient, type ClientOptions, type Data, type LumenizeError } from "../src/index.js"
import type { DatabaseKeeper } from "../src/persist/keeper.js"
import { ScriptedSocket, settle } from "./scripted.js"

/** Web Locks, which Node lacks before 24. */
class Locks {
  private readonly held = new Set<string>()

  async request<T>(name: string, ...more: [{ ifAvailable: boolean }, (lock: unknown) => T] | [(lock: unknown) => T]): Promise<T> {
    const work = more.at(-1) as (lock: unknown) => T
    if (this.held.has(name)) return work(null)
    this.held.add(name)
    try {
      return await work({ name })
    } finally {
      this.held.delete(name)
    }
  }
}

let count = 0
export let name = ""
const pages: Page[] = []

// of every test that uses pages
beforeEach(() => {
  vi.stubGlobal("navigator", { locks: new Locks() })
  name = `test ${++count}`
})
afterEach(() => {
  for (const page of pages.splice(0)) page.close()
  vi.restoreAllMocks()
})

/** A tab: a client with the sockets that it opens, which the test answers. */
export class Page {
  readonly sockets: ScriptedSocket[] = []
  readonly client: LumenizeClient<{ tasks: Data; notes: Data; comments: Data }>
  readonly errors: LumenizeError[] = []
  /** What the list of all tasks shows. */
  rows: string[] | null = null

  constructor(options: ClientOptions = {}) {
    const { sockets } = this
    class Socket extends ScriptedSocket {
      constructor(url: string) {
        super(url)
        sockets.push(this)
      }
    }
    this.client = new LumenizeClient({ WebSocket: Socket, userId: "ada", persist: { name }, ...options, websocket: { initialDelay: 1, maxDelay: 1 } })
    this.client.onError((error) => this.errors.push(error))
    this.client.tasks.subscribe({}, (rows) => (this.rows = rows.map(({ id, title }) => `${id}: ${title}`)))
    pages.push(this)
  }

  static async open(options: ClientOptions = {}): Promise<Page> {
    const page = new Page(options)
    page.client.connect().catch(() => {})
    await vi.waitFor(() => expect(page.sockets).toHaveLength(1), { timeout: 10_000 })
    return page
  }

  get socket(): ScriptedSocket {
    return this.sockets.at(-1) as ScriptedSocket
  }

  /** The server accepts the session, and tells these tasks; `time`: its own, in milliseconds since the epoch. */
  async greet(rows: Data[] = [], user = "ada", time?: number): Promise<void> {
    this.socket.welcome({}, user, time)
    await vi.waitFor(() => expect(this.socket.of("subscribe").length).toBeGreaterThan(0))
    for (const { id, subscriptions } of this.socket.of("subscribe")) {
      const subs = (subscriptions as { sub: number }[]).map(({ sub }) => sub)
      this.socket.reply(id, subs.map((sub) => ({ sub })))
      for (const sub of subs) this.socket.say({ type: "rows", sub, rows, versions: rows.map(() => 3) })
    }
    await settle()
  }

  /** The network is gone. */
  async cut(): Promise<void> {
    const before = this.sockets.length
    this.socket.end()
    await vi.waitFor(() => expect(this.sockets.length).toBeGreaterThan(before))
  }

  codes(): string[] {
    return this.errors.map(({ code, details }) => `${code} ${String(details["reason"] ?? "")}`.trim()).filter((code) => code !== "CONNECTION_LOST")
  }

  /** The tab is gone, and with it all that it has in memory. */
  close(): void {
    ;(this.client[CORE].keeper as DatabaseKeeper | null)?.close()
    void this.client.disconnect()
  }
}

export async function read(store: string): Promise<unknown[]> {
  const database = await openDB(name)
  const values = await database.getAll(store)
  database.close()
  return values
}

export const kept = (store: string, length: number): Promise<void> => vi.waitFor(async () => expect(await read(store)).toHaveLength(length), { timeout: 5000 })

export async function put(store: string, key: IDBValidKey, value: unknown): Promise<void> {
  const database = await openDB(name)
  await database.put(store, value, key)
  database.close()
}
