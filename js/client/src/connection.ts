/** One WebSocket at a time: opens it, says hello, keeps it alive, opens the next one when it breaks. */
import { delayBefore, type Backoff } from "./backoff.js"
import { present } from "./credentials.js"
import { asEnd, closedWith, connectionLost, invalid, LumenizeError } from "./errors.js"
import { guarded } from "./listeners.js"
import { isMessage, json, messagePack, VERSION, type ClientMessage, type Codec, type ServerMessage } from "./protocol.js"
import type { Credentials } from "./types.js"

export type Welcome = Extract<ServerMessage, { type: "welcome" }>

export interface ConnectionOptions {
  url: string
  projectId?: string
  apiKey?: string
  autoReconnect: boolean
  backoff: Backoff
  /** Milliseconds of silence before the server is asked for a sign of life; 0: never. */
  heartbeatInterval: number
  /** For that sign. */
  heartbeatTimeout: number
  /** For opening and greeting. */
  connectTimeout: number
  maxSubscriptions?: number
  maxEventsPerSecond?: number
  binaryProtocol: boolean
  WebSocket?: unknown
}

export interface ConnectionEvents {
  /** The session has begun, with `token`; `again` if it is not the first. What must be said anew is said here. */
  opened(welcome: Welcome, again: boolean, token: string | undefined): void
  message(message: ServerMessage): void
  /** A frame of a Yjs document. */
  frame(frame: Uint8Array): void
  /** A session has ended (`error` is `null` after `disconnect`). */
  closed(error: LumenizeError | null): void
  /** There is no connection: after a session, after the first attempt of a row, and when it is final. */
  failed(error: LumenizeError): void
  /** Nobody tries any more; `exhausted` if that might have succeeded. */
  gaveUp(error: LumenizeError, exhausted: boolean): void
}

export class Connection {
  credentials: Credentials = {}
  private socket: WebSocket | null = null
  private codec: Codec = json
  /** Which attempt is under way: whatever an earlier one still has to say does not count. */
  private turn = 0
  private attempt = 0
  private wanted = false
  private welcome: Welcome | null = null
  private before = false
  private heardAt = 0
  /** When the server was last asked for a sign of life. */
  private askedAt = 0
  /** Whether the next attempt waits for its time. */
  private delayed = false
  private timer: ReturnType<typeof setTimeout> | undefined
  private heartbeat: ReturnType<typeof setInterval> | undefined
  private waiting: { resolve: () => void; reject: (error: LumenizeError) => void }[] = []
  /** Why the server ends the session, in its own words. */
  private failure: LumenizeError | null = null

  constructor(
    private readonly options: ConnectionOptions,
    private readonly events: ConnectionEvents,
  ) {}

  /** Whether the server has taken this client in. */
  get isOpen(): boolean {
    return this.welcome !== null
  }

  /** Resolves once the server has taken us in; rejects when there is no use in trying on. */
  connect(credentials?: Credentials): Promise<void> {
    const before = this.credentials
    this.credentials = { ...before, ...credentials }
    if (this.wanted && !isSame(before, this.credentials)) this.restart()
    if (this.isOpen) return Promise.resolve()
    const promise = new Promise<void>((resolve, reject) => this.waiting.push({ resolve, reject }))
    if (!this.wanted) {
      this.wanted = true
      this.attempt = 0
      globalThis.addEventListener?.("online", this.online)
      globalThis.addEventListener?.("offline", this.offline)
      globalThis.document?.addEventListener("visibilitychange", this.visible)
      void this.open()
    }
    return promise
  }

  /** End the connection, and do not come back. */
  disconnect(): void {
    const { socket, isOpen } = this
    if (!this.wanted) return
    this.forget()
    socket?.close(1000)
    this.stop(null, isOpen)
  }

  /** Begin anew: what there is is somebody else's. */
  private restart(): void {
    const { socket, isOpen } = this
    this.forget()
    socket?.close(1000)
    this.before = false
    this.attempt = 0
    if (isOpen) this.events.closed(null)
    void this.open()
  }

  /** Send a message; returns why it cannot be sent, if the server would not take it. */
  send(message: ClientMessage): LumenizeError | null {
    if (this.welcome === null) return null
    const frame = this.codec.encode(message)
    const limit = this.welcome.limits.maxMessageBytes
    const size = typeof frame !== "string" ? frame.length : frame.length * 3 > limit ? new TextEncoder().encode(frame).length : 0
    const refusal = this.tooLarge(size)
    if (refusal === null) this.socket?.send(frame)
    return refusal
  }

  /** Send a frame of a document; returns why it cannot be sent, if the server would not take it. */
  sendFrame(frame: Uint8Array<ArrayBuffer>): LumenizeError | null {
    if (this.welcome === null) return null
    const refusal = this.tooLarge(frame.length)
    if (refusal === null) this.socket?.send(frame)
    return refusal
  }

  private tooLarge(size: number): LumenizeError | null {
    const limit = this.welcome?.limits.maxMessageBytes ?? 0
    // sent, it would end the connection, each time anew
    if (limit === 0 || size <= limit) return null
    return invalid(`a message of ${size} bytes; the server takes ${limit}`, { limit })
  }

  /** The network is back: do not wait for the next attempt. */
  private readonly online = (): void => {
    if (this.delayed) void this.open()
  }

  /** Somebody looks at the page again, which may have slept: find out at once how things stand. */
  private readonly visible = (): void => {
    if (globalThis.document?.visibilityState !== "visible") return
    if (this.delayed) void this.open()
    else if (this.isOpen && this.options.heartbeatInterval > 0) this.askForLife(Date.now())
  }

  private readonly offline = (): void => {
    if (this.socket !== null) this.break("the browser is offline")
  }

  private async open(): Promise<void> {
    clearTimeout(this.timer)
    this.delayed = false
    const turn = ++this.turn
    this.failure = null
    this.timer = setTimeout(() => this.break("the server did not answer in time"), this.options.connectTimeout)
    try {
      const [Socket, codec, token] = await Promise.all([
        (this.options.WebSocket as typeof WebSocket | undefined) ?? findWebSocket(),
        this.options.binaryProtocol ? messagePack() : json,
        present(this.credentials),
      ])
      if (turn !== this.turn) return
      this.codec = codec
      const socket = new Socket(this.options.url)
      this.socket = socket
      socket.binaryType = "arraybuffer"
      socket.onopen = () => socket.send(codec.encode(this.hello(token)))
      socket.onmessage = (event: MessageEvent<string | ArrayBuffer>) => {
        if (this.socket === socket) guarded(() => this.heard(event.data, token))
      }
      socket.onclose = ({ code, reason }) => {
        if (this.socket === socket) this.lost(this.failure ?? closedWith(code, reason))
      }
      socket.onerror = () => {} // close follows, and says more
    } catch (error) {
      if (turn === this.turn) this.lost(error instanceof LumenizeError ? error : connectionLost(String(error)))
    }
  }

  private hello(token: string | undefined): ClientMessage {
    const { projectId, apiKey, maxSubscriptions, maxEventsPerSecond } = this.options
    const { userId } = this.credentials
    return {
      type: "hello",
      protocol: VERSION,
      ...(projectId !== undefined && { projectId }),
      ...(apiKey !== undefined && { apiKey }),
      ...(userId !== undefined && { userId }),
      ...(token !== undefined && { token }),
      ...(maxSubscriptions !== undefined && { maxSubscriptions }),
      ...(maxEventsPerSecond !== undefined && { maxEventsPerSecond }),
    }
  }

  private heard(data: string | ArrayBuffer, token: string | undefined): void {
    this.heardAt = Date.now()
    const frame = typeof data === "string" ? data : new Uint8Array(data)
    if (!isMessage(frame)) return this.events.frame(frame as Uint8Array)
    const message = this.codec.decode(frame)
    if (message.type === "welcome") {
      clearTimeout(this.timer)
      this.welcome = message
      this.attempt = 0
      const { heartbeatInterval, heartbeatTimeout } = this.options
      if (heartbeatInterval > 0) this.heartbeat = setInterval(() => this.beat(), Math.min(heartbeatInterval, heartbeatTimeout) / 2)
      const again = this.before
      this.before = true
      this.settle(null)
      this.events.opened(message, again, token)
    } else if (message.type === "failure" && message.id === undefined && message.sub === undefined) {
      this.failure = LumenizeError.of(message.error) // the close frame follows
    } else this.events.message(message)
  }

  private beat(): void {
    const { heartbeatInterval, heartbeatTimeout } = this.options
    const now = Date.now()
    if (this.askedAt > this.heardAt) {
      // a page that slept has heard nothing and may be in time all the same: only an answer that is due is missed
      if (now - this.askedAt >= heartbeatTimeout) this.break("the server fell silent")
    } else if (now - this.heardAt >= heartbeatInterval) this.askForLife(now)
  }

  private askForLife(now: number): void {
    if (this.askedAt > this.heardAt) return
    this.askedAt = now
    this.send({ type: "ping" })
  }

  /** Give up on the attempt or the session that there is, without waiting for the other side. */
  private break(why: string): void {
    const socket = this.socket as (WebSocket & { terminate?: () => void }) | null
    this.lost(this.failure ?? connectionLost(why))
    // `ws` would keep the process for half a minute to say goodbye to a peer that is gone
    if (socket?.terminate) socket.terminate()
    else socket?.close()
  }

  private lost(reason: LumenizeError): void {
    const error = asEnd(reason)
    const was = this.isOpen
    const first = was || this.attempt === 0
    const renewable = was && error.code === "AUTHENTICATION_FAILED" && typeof this.credentials.token === "function"
    const worthwhile = error.retryable || renewable
    this.forget()
    this.attempt += 1
    const { autoReconnect, backoff } = this.options
    const delay = autoReconnect && worthwhile ? delayBefore(this.attempt, backoff, Math.random()) : null
    if (delay === null) return this.stop(error, was, worthwhile)
    this.delayed = true
    this.timer = setTimeout(() => void this.open(), delay)
    if (was) this.events.closed(error)
    if (first) this.events.failed(error)
  }

  /** Nothing is left of the attempt or session. */
  private forget(): void {
    this.turn += 1
    clearTimeout(this.timer)
    clearInterval(this.heartbeat)
    this.delayed = false
    this.askedAt = 0
    this.socket = null
    this.welcome = null
  }

  /** Nobody tries any more. */
  private stop(error: LumenizeError | null, was: boolean, exhausted = false): void {
    this.wanted = false
    this.before = false
    globalThis.removeEventListener?.("online", this.online)
    globalThis.removeEventListener?.("offline", this.offline)
    globalThis.document?.removeEventListener("visibilitychange", this.visible)
    const reason = error ?? connectionLost("disconnected")
    this.settle(reason)
    if (was) this.events.closed(error)
    if (error !== null) this.events.failed(error)
    this.events.gaveUp(reason, exhausted)
  }

  private settle(error: LumenizeError | null): void {
    const waiting = this.waiting
    this.waiting = []
    for (const { resolve, reject } of waiting) {
      if (error === null) resolve()
      else reject(error)
    }
  }
}

function isSame(one: Credentials, other: Credentials): boolean {
  const asked = typeof one.token === "function" && typeof other.token === "function"
  return one.userId === other.userId && (asked || one.token === other.token)
}

async function findWebSocket(): Promise<typeof WebSocket> {
  if (typeof WebSocket !== "undefined") return WebSocket
  const name = "ws" // not a literal, so that bundlers for the browser leave it alone
  try {
    return ((await import(/* @vite-ignore */ name)) as { WebSocket: typeof WebSocket }).WebSocket
  } catch {
    throw invalid("there is no WebSocket here (Node before 22): install the package ws, or pass it as the option WebSocket")
  }
}
