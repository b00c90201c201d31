/** A real server, a network that breaks on purpose, and stock editors. */
import { spawn, type ChildProcess } from "node:child_process"
import { createServer, connect, type Socket, type Server as NetServer } from "node:net"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { LumenizeClient, type LumenizeError } from "../src/index.js"
import type { Data } from "../src/schema.js"
import type { ClientOptions } from "../src/types.js"

const ROOT = fileURLToPath(new URL("../../..", import.meta.url))

/** A process that answers JSON lines. */
export class Lines {
  private readonly waiting: ((answer: { result?: unknown; error?: string }) => void)[] = []
  private readonly process: ChildProcess

  constructor(command: string, parameters: string[], folder: string) {
    this.process = spawn(command, parameters, { cwd: folder, stdio: ["pipe", "pipe", "inherit"] })
    createInterface({ input: this.process.stdout as NodeJS.ReadableStream }).on("line", (line) => {
      const answer = JSON.parse(line) as { result?: unknown; error?: string; complaint?: string }
      if (answer.complaint === undefined) this.waiting.shift()?.(answer)
    })
  }

  async ask<T>(command: string, more: object = {}): Promise<T> {
    const answer = new Promise<{ result?: unknown; error?: string }>((resolve) => this.waiting.push(resolve))
    this.process.stdin?.write(JSON.stringify({ command, id: 0, ...more }) + "\n")
    const { result, error } = await answer
    if (error !== undefined) throw new Error(error)
    return result as T
  }

  async end(): Promise<void> {
    const ended = new Promise((resolve) => this.process.once("exit", resolve))
    this.process.stdin?.end()
    await ended
  }
}

/** A server in a process of its own. Whatever is opened here is closed with it. */
export class World {
  url = ""
  private readonly lines = new Lines(process.env["PYTHON"] ?? `${ROOT}/.venv/bin/python`, ["-m", "tests.js.world"], ROOT)
  private readonly clients: LumenizeClient<Tasks>[] = []
  private readonly proxies: Network[] = []

  static async start(settings: Record<string, unknown> = {}): Promise<World> {
    const world = new World()
    await world.again(settings)
    return world
  }

  async again(settings: Record<string, unknown> = {}): Promise<void> {
    this.url = await this.lines.ask("start", settings)
  }

  stop(): Promise<void> {
    return this.lines.ask("stop")
  }

  kill(): Promise<void> {
    return this.lines.ask("kill")
  }

  token(user: string, access?: Record<string, string>, seconds = 3600): Promise<string> {
    return this.lines.ask("token", { user, access: access ?? null, seconds })
  }

  async network(): Promise<Network> {
    const network = await Network.to(Number(new URL(this.url).port))
    this.proxies.push(network)
    return network
  }

  client(options: ClientOptions = {}): LumenizeClient<Tasks> {
    const client = new LumenizeClient<Tasks>({
      url: this.url,
      ...options,
      websocket: { initialDelay: 20, maxDelay: 200, ...options.websocket },
    })
    this.clients.push(client)
    return client
  }

  async connected(options: ClientOptions = {}): Promise<LumenizeClient<Tasks>> {
    const client = this.client(options)
    await client.connect()
    return client
  }

  /** Close what one test has opened. */
  async leave(): Promise<void> {
    await Promise.all(this.clients.splice(0).map((client) => client.disconnect()))
    for (const proxy of this.proxies.splice(0)) proxy.close()
  }

  async end(): Promise<void> {
    await this.leave()
    await this.lines.end()
  }
}

/** The name of a collection, or of a document, that no other test uses. */
export const fresh = (): "tasks" => `x-${Math.random().toString(36).slice(2)}` as "tasks"

// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type Tasks = Record<"tasks" | "messages" | "users", Record<string, any>>

/** A way to the server that can be cut, or fall silent. */
export class Network {
  private readonly sockets = new Set<Socket>()
  private up = true
  private silent = false

  private constructor(
    private readonly server: NetServer,
    private readonly target: number,
  ) {}

  static async to(target: number): Promise<Network> {
    const server = createServer((socket) => network.carry(socket))
    const network = new Network(server, target)
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    return network
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as { port: number }).port}`
  }

  get connections(): number {
    return this.sockets.size / 2
  }

  private carry(near: Socket): void {
    if (!this.up) return void near.destroy()
    const far = connect(this.target, "127.0.0.1")
    for (const [one, other] of [[near, far], [far, near]] as const) {
      this.sockets.add(one)
      one.on("data", (data) => this.silent || other.write(data))
      one.on("error", () => {})
      one.on("close", () => {
        this.sockets.delete(one)
        other.destroy()
      })
    }
  }

  /** End what there is, and let nothing through until `mend`. */
  cut(): void {
    this.up = false
    for (const socket of this.sockets) socket.destroy()
  }

  mend(): void {
    this.up = true
    this.silent = false
  }

  /** Swallow everything from now on, on connections that stay open. */
  swallow(): void {
    this.silent = true
  }

  close(): void {
    this.cut()
    this.server.close()
  }
}

/** Wait for a condition. */
export async function until<T>(look: () => T | Promise<T>, seconds = 40): Promise<T> {
  const deadline = performance.now() + seconds * 1000
  for (;;) {
    const found = await look()
    if (found) return found
    if (performance.now() > deadline) throw new Error(`waited in vain for ${String(look)}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** What callbacks are called with, one after the other. */
export function log<T>(): T[] & { add: (value: T) => void; last: T | undefined } {
  const values: T[] = []
  return Object.defineProperties(values, {
    add: { value: (value: T) => void values.push(value) },
    last: { get: () => values.at(-1) },
  }) as T[] & { add: (value: T) => void; last: T | undefined }
}

export function codes(client: { onError(call: (error: LumenizeError) => void): unknown }): string[] {
  const found: string[] = []
  client.onError((error) => found.push(error.code))
  return found
}

/** A stock y-websocket editor. */
export class Editor {
  private readonly lines = new Lines(process.execPath, ["main.js"], `${ROOT}/tests/e2e/clients`)

  static async open(world: World, name: string): Promise<Editor> {
    const editor = new Editor()
    const url = world.url.replace("http", "ws") + "/rooms"
    await editor.lines.ask("create", { client: "e", kind: "y-websocket-3", url, name })
    return editor
  }

  insert(text: string): Promise<void> {
    return this.lines.ask("insert", { client: "e", index: -1, text })
  }

  async text(): Promise<string> {
    return (await this.lines.ask<{ text: string }>("summary", { client: "e" })).text
  }

  present(state: Data): Promise<void> {
    return this.lines.ask("setAwareness", { client: "e", state })
  }

  async sees(): Promise<Data[]> {
    return (await this.lines.ask<[number, Data][]>("awareness", { client: "e" })).map(([, state]) => state)
  }

  close(): Promise<void> {
    return this.lines.end()
  }
}
