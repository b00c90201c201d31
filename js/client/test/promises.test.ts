/** Each promise settles: refused, cut, ended for good, or answered with what nobody can read. */
import { afterEach, beforeEach, expect, it, vi } from "vitest"
import { LumenizeClient, type Data, type LumenizeError } from "../src/index.js"
import type { ClientOptions } from "../src/types.js"
import { ScriptedSocket, settle } from "./scripted.js"

type Tasks = LumenizeClient<{ tasks: Data }>

beforeEach(() => void vi.useFakeTimers())
afterEach(() => {
  vi.restoreAllMocks()
  vi.useRealTimers()
})

async function connected(options: ClientOptions = {}): Promise<Tasks> {
  const client = new LumenizeClient({ WebSocket: ScriptedSocket.fresh(), ...options }) as Tasks
  client.onError(() => {})
  const ready = client.connect()
  await settle()
  ScriptedSocket.last.welcome()
  await ready
  return client
}

const written = (id: string): unknown => ({ data: { id }, version: 1, conflicts: [] })
const lost = { code: "CONNECTION_LOST", message: "disconnected" }

it("is saved once the writes so far are, whatever is written meanwhile", async () => {
  const client = await connected()
  void client.tasks.create({ id: "a" })
  const saved = client.saved()
  client.tasks.create({ id: "b" }).catch(() => {})
  ScriptedSocket.last.reply(1, written("a"))
  await saved
  expect(client.pending).toBe(1)
})

it("cannot be saved while the client has stopped connecting, and can with the next connection", async () => {
  const client = await connected()
  void client.tasks.create({ id: "a" })
  const waiting = client.saved()
  await client.disconnect()
  await expect(waiting).rejects.toMatchObject(lost)
  await expect(client.saved()).rejects.toMatchObject(lost)
  const again = client.connect()
  const saved = client.saved()
  await settle()
  ScriptedSocket.last.welcome()
  await again
  ScriptedSocket.last.reply(1, written("a"))
  await saved
  await client.disconnect()
  await client.saved()
})

it("is in force no sooner than somebody connects, and says so to who subscribes after disconnect()", async () => {
  const client = await connected()
  await client.disconnect()
  const errors: LumenizeError[] = []
  const { ready } = client.tasks.subscribe({}, () => {}, { onError: (error) => errors.push(error) })
  const batch = client.createSubscriptionBatch().add("tasks", "*", () => {}).execute()
  await expect(ready).rejects.toMatchObject(lost)
  await expect(batch).rejects.toMatchObject(lost)
  expect(errors).toEqual([]) // the application knows that it has disconnected
})

it.each([["null", null], ["nothing", undefined], ["a number", 5]])("does not leave a write open whose answer is %s", async (_, result) => {
  const client = await connected()
  const write = client.tasks.create({ id: "a" })
  ScriptedSocket.last.reply(1, result)
  await expect(write).rejects.toThrow()
})

it.each([["a function", { at: () => 1 }], ["NaN", { at: NaN }], ["a string", "here"], ["a list", [1]], ["nothing", undefined]])(
  "refuses %s as a state with a typed error, and shows the next state",
  async (_, state) => {
    const client = await connected()
    const refused = { code: "INVALID_REQUEST" }
    let update: Promise<void> | undefined
    expect(() => (update = client.presence.update("d", state as never))).not.toThrow()
    await expect(update).rejects.toMatchObject(refused)
    if (state !== undefined) await expect(client.presence.join("d", state as never)).rejects.toMatchObject(refused)
    void client.presence.update("d", { x: 1 })
    expect(ScriptedSocket.last.sent.slice(1)).toMatchObject([{ type: "updatePresence", room: "d", state: { x: 1 } }])
  },
)

it("refuses a room and a channel that are no names with a typed error", async () => {
  const client = await connected()
  const none = undefined as never
  for (const call of [() => client.presence.update(none, {}), () => client.presence.join(none), () => client.presence.leave(none), () => client.events.join(none)]) {
    await expect(call()).rejects.toMatchObject({ code: "INVALID_REQUEST" })
  }
  expect(ScriptedSocket.last.sent).toHaveLength(1)
})

const jwt = (exp: number): string => `x.${btoa(JSON.stringify({ exp }))}.y`

it("asks for the next token again when the token function does not answer, or fails", async () => {
  const now = Math.floor(Date.now() / 1000)
  const answers: (() => Promise<string>)[] = [
    async () => jwt(now + 100),
    () => new Promise(() => {}),
    () => Promise.reject(new Error("offline")),
    async () => jwt(now + 5000),
  ]
  const client = await connected({ websocket: { heartbeatInterval: 0 }, token: () => (answers.shift() as () => Promise<string>)() })
  const errors: LumenizeError[] = []
  client.onError((error) => errors.push(error))
  await vi.advanceTimersByTimeAsync(99_000)
  expect(errors).toMatchObject([
    { code: "CONNECTION_LOST", message: "no token: the token function gave none within 10000 ms" },
    { code: "CONNECTION_LOST", message: "no token: Error: offline" },
  ])
  expect(ScriptedSocket.last.of("authenticate")).toMatchObject([{ token: jwt(now + 5000) }])
})

it("does not make authenticate() wait for a token function that does not answer", async () => {
  const client = await connected({ websocket: { connectTimeout: 500 } })
  const shown = client.authenticate({ token: () => new Promise(() => {}) })
  const refused = expect(shown).rejects.toMatchObject({ code: "CONNECTION_LOST", message: expect.stringContaining("within 500 ms") as string })
  await vi.advanceTimersByTimeAsync(500)
  await refused
})

it("says nothing of a renewal that failed after its session had ended", async () => {
  const now = Math.floor(Date.now() / 1000)
  let fail = (): void => {}
  const late = new Promise<string>((_, reject) => (fail = () => reject(new Error("late"))))
  const answers = [Promise.resolve(jwt(now + 100)), late, Promise.resolve("next")]
  const client = await connected({ websocket: { heartbeatInterval: 0 }, token: () => answers.shift() as Promise<string> })
  await vi.advanceTimersByTimeAsync(70_000)
  ScriptedSocket.last.end()
  const errors: LumenizeError[] = []
  client.onError((error) => errors.push(error))
  fail()
  await settle()
  expect(errors).toEqual([])
})

it("gives the fields of an entity, and nothing else that the server says of it", async () => {
  const client = await connected()
  const one = client.tasks.findById("a", { version: 2 })
  const many = client.tasks.findMany()
  await settle()
  ScriptedSocket.last.reply(1, { data: { id: "a", deleted: "no" }, version: 2, deleted: true, permissions: { edit: true } })
  ScriptedSocket.last.reply(2, { rows: [{ id: "a" }], versions: [1], next: "n", length: 0 })
  expect(await one).toEqual({ id: "a", deleted: "no", permissions: { edit: true } })
  const rows = await many
  expect([rows.length, rows.next, "permissions" in rows]).toEqual([1, "n", false])
})
