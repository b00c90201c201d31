/** What a scene plays with: the clients of one section of the page, the network, and the server from outside. */
import { LumenizeClient, type ClientOptions, type Data } from "@lumenize/client"

import { quicken } from "./clock"
import { until } from "./expect"
import type { Wire } from "./wire"

export const PROJECT = "proj_abc123"
export const KEY = "lum_live_xyz789"
/** Credentials of other users than the page's; the server of the test knows them. */
export const OTHER = "token_of_user_456"
export const GUEST = "token_of_a_guest"

/** Milliseconds that a client gives a server to say welcome: the server's time runs as ever. */
const ANSWER_WITHIN = 10_000

/** The collections of the page. */
export type App = Record<"tasks" | "orders" | "users" | "projects" | "messages" | "notifications" | "secrets", Data>
export type AppClient = LumenizeClient<App>

/** What the test does to the world: `cut` and `mend` the network, `interrupt` it once, `redeclare` a collection. */
export type Control = (command: string, ...parameters: unknown[]) => Promise<unknown>

export class Stage {
  readonly currentUser = { id: "user_123", role: "member" }
  private readonly clients: AppClient[] = []
  private endings: (() => unknown)[] = []

  /** `server` is its address without the network between that may be cut. */
  constructor(
    readonly control: Control,
    readonly wire: Wire,
    private readonly server: string,
  ) {}

  /** The page's `client`, where a snippet does not make it itself: that of its user, connected. */
  client(options: ClientOptions = {}): Promise<AppClient> {
    return this.open({ token: "user_jwt_token", userId: this.currentUser.id, ...options })
  }

  /** Somebody else, on another machine. */
  other(): Promise<AppClient> {
    return this.open({ token: OTHER, url: this.server })
  }

  private async open(options: ClientOptions): Promise<AppClient> {
    const websocket = { initialDelay: 20, maxDelay: 200, ...options.websocket }
    const client = new LumenizeClient<App>({ projectId: PROJECT, apiKey: KEY, ...options, websocket })
    this.clients.push(client)
    await client.connect()
    return client
  }

  /** Have something ended with the section. */
  later(end: () => unknown): void {
    this.endings.push(end)
  }

  /** Ask the server over HTTP, as another program of the application. */
  async post(path: string, body: Data): Promise<void> {
    const headers = { "X-API-Key": KEY, "Content-Type": "application/json" }
    const answer = await fetch(`${this.server}/api/v1/${path}`, { method: "POST", headers, body: JSON.stringify(body) })
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
  }

  /** Do something in quickened time; gives the waits between attempts to connect. Then the network is whole again. */
  async quickened(times: number, what: (delays: number[]) => Promise<void>): Promise<number[]> {
    const time = quicken(times, ANSWER_WITHIN)
    try {
      await what(time.delays)
      return time.delays
    } finally {
      time.end()
      await this.control("mend")
    }
  }

  async end(): Promise<void> {
    await this.control("mend")
    for (const end of this.endings.splice(0)) await end()
    for (const client of this.clients.splice(0)) await client.disconnect()
  }
}

/** Wait until everything that a client has subscribed to so far is in force. */
export async function inForce(client: AppClient): Promise<void> {
  const batch = client.createSubscriptionBatch()
  batch.add<Data>("nothing", "*", () => {})
  const end = await batch.execute()
  end()
}

/** Leave no entity of these collections. */
export async function clear(client: AppClient, ...collections: string[]): Promise<void> {
  for (const name of collections) {
    for (const { id } of await client.collection<Data>(name).findMany()) await client.collection<Data>(name).delete(id)
  }
}

/** An entity of this name, with these fields, whatever there was. */
export async function put(client: AppClient, collection: string, id: string, data: Data): Promise<void> {
  const entities = client.collection<Data>(collection)
  try {
    await entities.create({ id, ...data })
  } catch (error) {
    if (!["CONFLICT", "NOT_FOUND"].includes((error as { code: string }).code)) throw error // it is there, or was
    await entities.restore(id).catch(() => {})
    await entities.update(id, data)
  }
}

/** Wait until a client, that has heard all events of a collection, has heard the one of a new entity. */
export async function witness(client: AppClient, other: AppClient, collection: string): Promise<void> {
  const heard: string[] = []
  const end = client.collection<Data>(collection).subscribe("*", ({ id }) => heard.push(id))
  await inForce(client)
  const { id } = await other.collection<Data>(collection).create({ witness: true })
  await until(() => heard.includes(id))
  end()
  await other.collection<Data>(collection).delete(id)
}
