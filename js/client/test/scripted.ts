/** A WebSocket whose other side is the test. */
import { afterEach, beforeEach, vi } from "vitest"
import { LumenizeClient, type ClientOptions, type Data } from "../src/index.js"
import "../src/diagnosis.js" // loaded, so that no timer of a test waits for it
import type { ClientMessage, ServerMessage } from "../src/protocol.js"

// what a client asks when it has no connection: nothing answers, and at once
beforeEach(() => void vi.stubGlobal("fetch", () => Promise.reject(new TypeError("fetch failed"))))
afterEach(() => void vi.unstubAllGlobals())

type Sent = Extract<ClientMessage, { type: string }> & { id: number } & Record<string, unknown>

export class ScriptedSocket {
  static readonly all: ScriptedSocket[] = []
  static get last(): ScriptedSocket {
    return ScriptedSocket.all.at(-1) as ScriptedSocket
  }

  binaryType = ""
  onopen: (() => void) | null = null
  onmessage: ((event: { data: string | ArrayBuffer }) => void) | null = null
  onclose: ((event: { code: number; reason: string }) => void) | null = null
  onerror: (() => void) | null = null
  readonly sent: Sent[] = []
  readonly frames: Uint8Array[] = []
  closed = false

  constructor(readonly url: string) {
    ScriptedSocket.all.push(this)
  }

  send(data: string | Uint8Array): void {
    if (typeof data === "string") this.sent.push(JSON.parse(data) as Sent)
    else this.frames.push(data)
  }

  close(): void {
    this.closed = true
  }

  // the other side

  say(message: ServerMessage): void {
    this.onmessage?.({ data: JSON.stringify(message) })
  }

  sayBytes(...bytes: number[]): void {
    this.onmessage?.({ data: new Uint8Array(bytes).buffer })
  }

  welcome(limits: Partial<Extract<ServerMessage, { type: "welcome" }>["limits"]> = {}, userId: string | null = null, time?: number): void {
    this.onopen?.()
    this.say({
      type: "welcome",
      protocol: 1,
      projectId: "default",
      userId,
      session: "s",
      cursor: "c0",
      heartbeatSeconds: 15,
      limits: { maxSubscriptions: 0, maxEventsPerSecond: 0, maxMessageBytes: 0, ...limits },
      ...(time !== undefined && { at: new Date(time).toISOString() }),
    })
  }

  end(code = 1006, reason = ""): void {
    this.onclose?.({ code, reason })
  }

  reply(id: number, result?: unknown): void {
    this.say({ type: "reply", id, result })
  }

  refuse(id: number, code: string, details: Record<string, unknown> = {}, retryable = false): void {
    this.say({ type: "failure", id, error: { code, message: code, details, retryable } })
  }

  /** What was sent of one type. */
  of(type: string): Sent[] {
    return this.sent.filter((message) => message.type === type)
  }

  static fresh(): typeof WebSocket {
    ScriptedSocket.all.length = 0
    return ScriptedSocket as unknown as typeof WebSocket
  }
}

/** A new client, connected to the newest socket. */
export async function connectedClient<C = { tasks: Data }>(options: ClientOptions = {}): Promise<LumenizeClient<C>> {
  const client = new LumenizeClient<C>({ WebSocket: ScriptedSocket.fresh(), ...options })
  const connected = client.connect()
  await settle()
  ScriptedSocket.last.welcome()
  await connected
  return client
}

/** Let all that waits for no time happen. */
export async function settle(): Promise<void> {
  if (vi.isFakeTimers()) await vi.advanceTimersByTimeAsync(0)
  else await new Promise((resolve) => setImmediate(resolve))
}
