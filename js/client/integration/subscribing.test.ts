import { afterAll, beforeAll, expect, it } from "vitest"
import { WebSocket } from "ws"
import type { Data } from "../src/schema.js"
import type { EntityEvent } from "../src/types.js"
import { log, until, World } from "./world.js"

const declared = (fields: Data) => ({ collections: { invoices: { fields } } })

let world: World
beforeAll(async () => {
  world = await World.start({ compression: "true", ...declared({ type: "object" }) })
})
afterAll(() => world.end())

it("tells nothing while a condition does not hold, and from then on what there is", async () => {
  const [client, other] = [await world.connected(), await world.connected()]
  let [open, admin] = [false, false]
  const [rows, events, all] = [log<Data[]>(), log<EntityEvent>(), log<EntityEvent>()]
  client.tasks.subscribe({ where: { status: "new" }, condition: () => open }, rows.add)
  client.tasks.subscribe("*", events.add, { condition: () => admin })
  client.tasks.subscribe("*", all.add)
  await client.tasks.count()
  await other.tasks.create({ status: "new" })
  await until(() => all.length === 1)
  expect([...rows, ...events]).toEqual([])
  open = admin = true
  await other.tasks.create({ status: "new" })
  await until(() => rows.last?.length === 2 && events.length === 1)
})

it("asks for all of a batch with one message, over the connection that there is", async () => {
  const network = await world.network()
  const sent: string[] = []
  class Listening extends WebSocket {
    override send(data: Parameters<WebSocket["send"]>[0]): void {
      sent.push(data as string)
      super.send(data)
    }
  }
  const client = await world.connected({ url: network.url, WebSocket: Listening })
  const [tasks, users] = [log<Data[]>(), log<Data[]>()]
  const batch = client.createSubscriptionBatch()
  batch.add("tasks", { where: { status: "batched" } }, tasks.add)
  batch.add("users", {}, users.add)
  const before = sent.length
  const end = await batch.execute()
  expect(sent.slice(before).map((message) => (JSON.parse(message) as { subscriptions: unknown[] }).subscriptions.length)).toEqual([2])
  expect(network.connections).toBe(1)
  await until(() => tasks.last && users.last)
  end()
})

it.each([
  [false, "string"],
  [true, "object"],
])("agrees with the server on compression; binaryProtocol: %s", async (binaryProtocol, frames) => {
  const [sockets, kinds] = [[] as WebSocket[], new Set<string>()]
  class Listening extends WebSocket {
    constructor(url: string) {
      super(url)
      sockets.push(this)
      this.addEventListener("message", ({ data }) => kinds.add(typeof data))
    }
  }
  const client = await world.connected({ WebSocket: Listening, websocket: { compression: true, binaryProtocol } })
  const task = await client.tasks.create({ title: "t".repeat(5000) })
  expect(await client.tasks.findById(task.id)).toMatchObject({ title: "t".repeat(5000) })
  expect(sockets.map(({ extensions }) => extensions.split(";")[0])).toEqual(["permessage-deflate"])
  expect([...kinds]).toEqual([frames])
})

it("hears that rights have changed", async () => {
  const client = await world.connected()
  const heard = log<Data>()
  client.system.subscribe("permissions_changed", heard.add)
  await client.tasks.count()
  const answer = await fetch(`${world.url}/api/v1/permissions-changed`, { method: "POST", body: '{"resourceId": "tasks/t"}' })
  expect(answer.status).toBe(202)
  await until(() => heard.last)
  expect(heard).toMatchObject([{ type: "permissions_changed", resourceId: "tasks/t" }])
})

it("hears of a schema that a restart has changed, once, and reads it anew", async () => {
  const client = await world.connected()
  const heard = log<Data>()
  client.system.subscribe("schema_updated", heard.add)
  expect(await client.refreshSchema()).toMatchObject({ invoices: { version: 1 } })
  const fields = { type: "object", required: ["total"] }
  for (const _ of ["with another schema", "with the same"]) {
    await world.stop()
    await world.again(declared(fields))
    await until(() => heard.last)
    await until(() => client.isConnected())
    await client.tasks.count()
  }
  expect(heard).toMatchObject([{ entityName: "invoices", version: 2 }])
  expect(client.schema).toMatchObject({ invoices: { version: 1 } })
  expect(await client.refreshSchema()).toMatchObject({ invoices: { version: 2, schema: fields } })
})
