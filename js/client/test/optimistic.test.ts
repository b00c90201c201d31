/**
 * What live queries show while own writes wait, are lost, refused and late: at every moment that which a simple model
 * says of the facts that the client was told last and the own writes; in the end that which is true.
 */
import { afterEach, beforeEach, expect, it, vi } from "vitest"
import { LumenizeClient, type LumenizeClient as Client } from "../src/index.js"
import type { ServerMessage, Step } from "../src/protocol.js"
import type { Query } from "../src/queries.js"
import type { Data } from "../src/schema.js"
import { ScriptedSocket, settle } from "./scripted.js"

beforeEach(() => {
  vi.useFakeTimers()
  vi.spyOn(console, "error").mockImplementation(() => {})
})
afterEach(() => {
  vi.restoreAllMocks()
  vi.useRealTimers()
})

/** Numbers in [0, 1), the same for the same seed. */
function generator(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0
    let mixed = Math.imul(seed ^ (seed >>> 15), seed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

interface List {
  query: Query
  wants(row: Data): boolean
  order(a: Data, b: Data): number
  limit: number
}

const text = (a: unknown, b: unknown): number => (String(a) < String(b) ? -1 : String(a) > String(b) ? 1 : 0)
const byId = (a: Data, b: Data): number => text(a["id"], b["id"])
const LISTS: List[] = [
  { query: {}, wants: () => true, order: byId, limit: Infinity },
  {
    query: { where: { done: false }, orderBy: { n: "asc" } },
    wants: (row) => row["done"] === false,
    order: (a, b) => a["n"] - b["n"] || byId(a, b),
    limit: Infinity,
  },
  {
    query: { orderBy: { createdAt: "desc" }, limit: 3 },
    wants: () => true,
    order: (a, b) => text(b["createdAt"], a["createdAt"]) || byId(a, b),
    limit: 3,
  },
]

interface Row {
  data: Data
  version: number
}

const inList = (list: List, rows: Row[]): Row[] =>
  rows
    .filter(({ data }) => list.wants(data))
    .sort((a, b) => list.order(a.data, b.data))
    .slice(0, list.limit)

/** Steps from what was told to what is. */
function difference(before: Row[], after: Row[], newest: (id: string) => number | undefined): Step[] {
  const steps: Step[] = []
  let ids = before.map(({ data }) => data["id"] as string)
  const old = new Map(before.map((row) => [row.data["id"] as string, row]))
  for (const id of ids) {
    if (after.some(({ data }) => data["id"] === id)) continue
    const version = newest(id) // where the server knows it
    steps.push({ op: "leave", id, ...(version !== undefined && { version }) })
  }
  ids = ids.filter((id) => after.some(({ data }) => data["id"] === id))
  after.forEach(({ data, version }, index) => {
    const id = data["id"] as string
    const at = ids.indexOf(id)
    if (at < 0) steps.push({ op: "enter", id, index, data, version })
    else if (at !== index) steps.push({ op: "move", id, index })
    if (at >= 0) ids.splice(at, 1)
    ids.splice(index, 0, id)
    const known = old.get(id)
    if (known !== undefined && known.version !== version) {
      const unset = Object.keys(known.data).filter((name) => !(name in data))
      steps.push({ op: "change", id, set: data, version, ...(unset.length > 0 && { unset }) })
    }
  })
  return steps
}

/** The server: what is true, and what it has said of it. */
class Server {
  readonly rows = new Map<string, Row>()
  /** Also of what was deleted. */
  private readonly versions = new Map<string, number>()
  /** By sub: which list, and what was told of it on this connection; `null`: nothing yet. */
  told = new Map<number, { list: List; rows: Row[] | null }>()
  /** On the way to the client. */
  queue: ServerMessage[] = []
  private readonly done = new Map<string, ServerMessage>()
  private read = 0
  private time = Date.UTC(2030, 0, 1)

  constructor(private readonly random: () => number) {}

  now(): string {
    return new Date((this.time += 1)).toISOString()
  }

  commit(id: string, data: Data | null): Row {
    const version = (this.versions.get(id) ?? 0) + 1
    this.versions.set(id, version)
    const row = { data: data ?? { id }, version }
    if (data === null) this.rows.delete(id)
    else this.rows.set(id, row)
    return row
  }

  /** Take in the next request, if there is one. */
  take(socket: ScriptedSocket): boolean {
    const message = socket.sent[this.read]
    if (message === undefined) return false
    this.read += 1
    const { id, type } = message
    if (type === "subscribe") {
      const subscriptions = message["subscriptions"] as { sub: number; target: { query: Query } }[]
      for (const { sub, target } of subscriptions) {
        const list = LISTS.find(({ query }) => JSON.stringify(query) === JSON.stringify(target.query)) as List
        this.told.set(sub, { list, rows: null })
      }
      this.queue.push({ type: "reply", id, result: subscriptions.map(({ sub }) => ({ sub })) })
    } else if (type === "unsubscribe") {
      for (const sub of message["subs"] as number[]) this.told.delete(sub)
      this.queue.push({ type: "reply", id, result: null })
    } else if (type === "create" || type === "update" || type === "delete") this.write(message)
    return true
  }

  private write(message: ScriptedSocket["sent"][number]): void {
    const { id, type } = message
    const [entity, request] = [message["entity"] as string, message["request"] as string]
    const known = this.done.get(request)
    if (known !== undefined) return void this.queue.push({ ...known, id } as ServerMessage)
    const before = this.rows.get(entity)
    const missing = (before === undefined) !== (type === "create")
    if (missing || this.random() < 0.1) {
      return void this.queue.push({ type: "failure", id, error: { code: "VALIDATION_FAILED", message: "no" } })
    }
    const at = this.now()
    let row: Row
    if (type === "create") row = this.commit(entity, { id: entity, ...(message["data"] as Data), createdAt: at, updatedAt: at })
    else if (type === "delete") row = this.commit(entity, null)
    else {
      const changes = { ...(message["changes"] as Data) }
      if (message["version"] !== before?.version && this.random() < 0.5) delete changes["n"] // theirs holds
      row = this.commit(entity, { ...before?.data, ...changes, updatedAt: at })
    }
    const answer: ServerMessage = { type: "reply", id, result: { data: row.data, version: row.version, conflicts: [] } }
    this.done.set(request, answer)
    this.queue.push(answer)
  }

  /** Somebody else writes. */
  others(): void {
    const ids = [...this.rows.keys()]
    const id = ids[Math.floor(this.random() * ids.length)]
    const at = this.now()
    const n = Math.floor(this.random() * 9)
    if (id === undefined || this.random() < 0.4) this.commit(`x${at}`, { id: `x${at}`, n, done: this.random() < 0.3, createdAt: at, updatedAt: at })
    else if (this.random() < 0.4) this.commit(id, null)
    else this.commit(id, { ...this.rows.get(id)?.data, ...(this.random() < 0.5 ? { n } : { done: this.random() < 0.5 }), updatedAt: at })
  }

  /** Tell one list what there is by now, of however many writes. */
  tell(sub: number): void {
    const told = this.told.get(sub)
    if (told === undefined) return
    const rows = inList(told.list, [...this.rows.values()])
    if (told.rows === null || this.random() < 0.1) {
      this.queue.push({ type: "rows", sub, rows: rows.map(({ data }) => data), versions: rows.map(({ version }) => version) })
    } else {
      const steps = difference(told.rows, rows, (id) => (this.random() < 0.8 ? this.versions.get(id) : undefined))
      if (steps.length > 0) this.queue.push({ type: "diff", sub, steps })
    }
    told.rows = rows
  }

  cut(): void {
    this.queue = []
    this.told = new Map()
    this.read = 0
  }
}

interface Own {
  kind: "create" | "update" | "delete"
  id: string
  values: Data
  state: "pending" | "committed" | "refused"
  version: number
  commit: number
}

/** What the client was told, and what follows for one list. */
class Facts {
  rows: Row[] | null = null
  /** Also of rows that have left. */
  versions = new Map<string, number>()
  answered = -1

  constructor(readonly list: List) {}

  hear(message: ServerMessage, asked: number): void {
    if (message.type === "rows") {
      this.rows = message.rows.map((data, index) => ({ data, version: message.versions[index] as number }))
      for (const { data, version } of this.rows) this.versions.set(data["id"] as string, version)
      this.answered = asked
    } else if (message.type === "diff") {
      for (const { op, id, index = 0, data = {}, set = {}, unset = [], version = 0 } of message.steps) {
        const rows = this.rows as Row[]
        const at = rows.findIndex((row) => row.data["id"] === id)
        if (op === "enter") rows.splice(index, 0, { data, version })
        else if (op === "leave") rows.splice(at, 1)
        else if (op === "move") rows.splice(index, 0, ...rows.splice(at, 1))
        else rows[at] = { data: Object.fromEntries(Object.entries({ ...rows[at]?.data, ...set }).filter(([name]) => !unset.includes(name))), version }
        if (version > 0) this.versions.set(id, version)
      }
    }
  }

  /** Names and values, without the times of what is not committed: only their order is certain. */
  expected(own: readonly Own[]): string[] | null {
    if (this.rows === null) return null
    const rows = new Map<string, Data | null>(this.rows.map(({ data }) => [data["id"] as string, data]))
    let changed = false
    own.forEach(({ kind, id, values, state, version, commit }, index) => {
      if (state === "refused") return
      if (state === "committed" && (version <= (this.versions.get(id) ?? 0) || commit <= this.answered)) return
      const row = rows.get(id) ?? null
      if (row === null && kind !== "create") return
      changed = true
      // later than all that anybody was told
      const time = state === "pending" ? { updatedAt: `9999-${String(index).padStart(9, "0")}` } : {}
      if (kind === "delete") rows.set(id, null)
      else if (row !== null && kind === "create" && state === "pending") rows.set(id, row)
      else if (state === "committed") rows.set(id, values)
      else rows.set(id, { ...row, ...values, ...time, ...(kind === "create" && { createdAt: time.updatedAt }) })
    })
    const now = [...rows.values()].filter((row) => row !== null)
    const shown = changed ? inList(this.list, now.map((data) => ({ data, version: 0 }))).map(({ data }) => data) : now
    return shown.map(say)
  }
}

const say = ({ id, n, done }: Data): string => `${id} ${n} ${done}`

async function run(seed: number): Promise<void> {
  const random = generator(seed)
  vi.setSystemTime(Date.UTC(2030, 0, 1) + (random() - 0.5) * 3_600_000)
  const server = new Server(random)
  for (let count = 0; count < 4; count += 1) server.others()
  const client = new LumenizeClient({ WebSocket: ScriptedSocket.fresh(), websocket: { heartbeatInterval: 0, connectTimeout: 1e9 } }) as Client<{ tasks: Data }>
  client.onError(() => {})
  const facts = LISTS.map((list) => new Facts(list))
  const shown = LISTS.map((): Data[] | null => null)
  const own: Own[] = []
  /** By sub: of which list, and how many own writes were known to be committed when it was asked for. */
  const asked = new Map<number, { list: number; commits: number }>()
  let [commits, seen, made, open] = [0, 0, 0, false]
  LISTS.forEach(({ query }, index) =>
    client.tasks.subscribe(query, (rows) => {
      // callbacks that write, throw and reject change nothing for those behind them
      if (random() < 0.04) write()
      shown[index] = rows
      if (random() < 0.05) throw new Error("mine")
      return random() < 0.05 ? Promise.reject(new Error("mine")) : undefined
    }),
  )

  const look = (): void => {
    const sent = ScriptedSocket.all.at(-1)?.sent ?? []
    for (; seen < sent.length; seen += 1) {
      if (sent[seen]?.type !== "subscribe") continue
      for (const { sub, target } of sent[seen]?.["subscriptions"] as { sub: number; target: { query: Query } }[]) {
        const list = LISTS.findIndex(({ query }) => JSON.stringify(query) === JSON.stringify(target.query))
        for (const [old, it] of asked) if (it.list === list) asked.delete(old)
        asked.set(sub, { list, commits })
      }
    }
  }
  const check = async (what: string): Promise<void> => {
    await settle()
    look()
    facts.forEach((each, index) => {
      expect(shown[index]?.map(say) ?? null, `seed ${seed}, list ${index}, after: ${what}`).toEqual(each.expected(own))
    })
  }
  const write = (): void => {
    const mine = own.filter(({ kind }) => kind === "create").map(({ id }) => id)
    const ids = [...new Set([...(shown[0] ?? []).map((row) => row["id"] as string), ...mine])]
    const id = ids[Math.floor(random() * ids.length)]
    const again = id !== undefined && random() < 0.1 // what was deleted is made anew, or what is there is not
    const kind = again || id === undefined || random() < 0.4 ? "create" : random() < 0.3 ? "delete" : "update"
    const values = kind === "delete" ? {} : { n: Math.floor(random() * 9), ...((kind === "create" || random() < 0.5) && { done: random() < 0.3 }) }
    const it: Own = { kind, id: id ?? "", values, state: "pending", version: 0, commit: 0 }
    if (kind === "create" && !again) it.id = `own${seed % 7}${(made += 1)}`
    if (kind === "create") it.values = { id: it.id, ...values }
    own.push(it)
    const done = kind === "create" ? client.tasks.create(it.values) : kind === "delete" ? client.tasks.delete(it.id) : client.tasks.update(it.id, values)
    done.catch(() => {})
  }
  /** The own writes by their requests, in the order in which they were sent first. */
  const requests = new Map<string, Own>()
  const owner = (id: number): Own | undefined => {
    const message = ScriptedSocket.last.sent.find((each) => each.id === id)
    const request = message?.["request"] as string | undefined
    if (request === undefined) return undefined
    const known = requests.get(request)
    if (known !== undefined) return known
    const found = own.find((each) => each.state === "pending" && each.kind === message?.type && each.id === message["entity"] && ![...requests.values()].includes(each))
    if (found !== undefined) requests.set(request, found)
    return found
  }
  const deliver = (): boolean => {
    const message = server.queue.shift()
    if (message === undefined) return false
    if (message.type === "reply" || message.type === "failure") {
      const it = owner(message.id as number)
      if (it !== undefined && message.type === "failure") it.state = "refused"
      else if (it !== undefined && message.type === "reply") {
        const { data, version } = message.result as { data: Data; version: number }
        Object.assign(it, { state: "committed", version, commit: (commits += 1), values: it.kind === "delete" ? {} : data })
      }
    } else if ("sub" in message) {
      const it = asked.get(message.sub as number)
      if (it !== undefined) facts[it.list]?.hear(message, it.commits)
    }
    ScriptedSocket.last.say(structuredClone(message))
    return true
  }
  const connect = async (): Promise<void> => {
    if (ScriptedSocket.all.length === 0) void client.connect()
    else await vi.advanceTimersByTimeAsync(60_000)
    await settle()
    server.cut()
    seen = 0
    ScriptedSocket.last.welcome()
    open = true
  }

  for (let step = 0; step < 70; step += 1) {
    const dice = random()
    let what = "nothing"
    if (dice < 0.2) [what] = ["a write", write()]
    else if (dice < 0.3) [what] = ["others", server.others()]
    else if (!open) [what] = ["a connection", dice < 0.6 ? await connect() : undefined]
    else if (dice < 0.5) [what] = ["a request", server.take(ScriptedSocket.last)]
    else if (dice < 0.65) [what] = ["telling", server.tell([...server.told.keys()][Math.floor(random() * server.told.size)] ?? 0)]
    else if (dice < 0.93) [what] = ["an answer", deliver()]
    else if (dice < 0.96) {
      what = "a cut"
      open = false
      ScriptedSocket.last.end()
    } else {
      what = "time"
      await vi.advanceTimersByTimeAsync(2500)
    }
    await check(what)
  }

  // all is delivered, and after that the lists that were not told of all
  if (!open) await connect()
  for (let round = 0; round < 6; round += 1) {
    for (let going = true; going; ) {
      going = server.take(ScriptedSocket.last)
      for (const sub of server.told.keys()) server.tell(sub)
      while (deliver()) {
        going = true
        await check("the end")
      }
      await check("the end")
    }
    await vi.advanceTimersByTimeAsync(2500)
    await check("the end")
  }
  expect(client.pending).toBe(0)
  LISTS.forEach((list, index) => {
    expect(shown[index]?.map(say), `seed ${seed}, list ${index}, in the end`).toEqual(inList(list, [...server.rows.values()]).map(({ data }) => say(data)))
  })
  await client.disconnect()
}

it.each(Array.from({ length: 10 }, (_, index) => index))("shows what the facts and the own writes say, whatever happens %#", async (block) => {
  for (let seed = block * 12; seed < block * 12 + 12; seed += 1) await run(seed)
})
