/** One WebSocket at a time: opens it, says hello, keeps it alive, opens the next one when it breaks. */
import { delayBefore, type Backoff } from "./backoff.js"
import { connectionLost, LumenizeError } from "./errors.js"
import { isMessage, json, messagePack, VERSION, type ClientMessage, type Codec, type ServerMessage } from "./protocol.js"
import type { Credentials } from "./types.js"

export type Welcome = Extract<ServerMessage, { type: "welcome" }>

export interface ConnectionOptions {
  url: string
  projectId?: string | undefined
  apiKey?: string | undefined
  autoReconnect: boolean
  backoff: Backoff
  heartbeatInterval: number
  maxSubscriptions?: number | undefined
  maxEventsPerSecond?: number | undefined
  binary: boolean
  WebSocket?: typeof WebSocket | undefined
}

export interface ConnectionEvents {
  /** The session has begun; `again` if it is not the first. What must be said anew is said here. */
  opened(welcome: Welcome, again: boolean): void
  message(message: ServerMessage): void
  /** A frame of a Yjs document. */
  frame(frame: Uint8Array): void
  /** The session has ended; `willRetry` tells whether the next one is on its way. */
  closed(error: LumenizeError | null, willRetry: boolean): void
  /** There will be no further attempt. */
  gaveUp(error: LumenizeError): void
}

const WELCOME_WITHIN = 10_000
const PERMANENT = (code: number): boolean => code >= 4400 && code < 4500

export class Connection {
  private socket: WebSocket | null = null
  private codec: Codec = json
  private credentials: Credentials = {}
  private attempt = 0
  private wanted = false
  private welcomed = false
  private before = false
  private heardAt = 0
  private timer: ReturnType<typeof setTimeout> | undefined
  private heartbeat: ReturnType<typeof setInterval> | undefined
  private waiting: { resolve: () => void; reject: (error: LumenizeError) => void }[] = []
  private failure: LumenizeError | null = null

  constructor(
    private readonly options: ConnectionOptions,
    private readonly events: ConnectionEvents,
  ) {}

  /** Whether the server has taken this client in. */
  get isOpen(): boolean {
    return this.welcomed
  }

  /** Whether a connection is there, or on its way. */
  get isWanted(): boolean {
    return this.wanted
  }

  /** Resolves once the server has taken us in; rejects when there is no use in trying on. */
  connect(credentials?: Credentials): Promise<void> {
    if (credentials !== undefined) this.credentials = credentials
    if (this.welcomed) return Promise.resolve()
    const promise = new Promise<void>((resolve, reject) => this.waiting.push({ resolve, reject }))
    if (!this.wanted) {
      this.wanted = true
      this.attempt = 0
      void this.open()
    }
    return promise
  }

  /** End the connection, and do not come back. */
  disconnect(): void {
    const was = this.wanted
    this.wanted = false
    clearTimeout(this.timer)
    const socket = this.socket
    this.socket = null
    socket?.close(1000)
    if (was) this.ended(null)
    this.settle(connectionLost("disconnected"))
  }

  /** The next session shows these. */
  authenticateWith(credentials: Credentials): void {
    this.credentials = { ...this.credentials, ...credentials }
  }

  /** The newest token, if any. */
  async token(): Promise<string | undefined> {
    const { token } = this.credentials
    return typeof token === "function" ? await token() : token
  }

  send(message: ClientMessage): void {
    if (this.welcomed) this.socket?.send(this.codec.encode(message))
  }

  sendFrame(frame: Uint8Array<ArrayBuffer>): void {
    if (this.welcomed) this.socket?.send(frame)
  }

  /** Drop the socket as if the network had. */
  private break(error: LumenizeError): void {
    const socket = this.socket
    if (socket === null) return
    this.socket = null
    socket.close()
    this.lost(error, false)
  }

  private async open(): Promise<void> {
    this.failure = null
    try {
      const [Socket, codec, token] = await Promise.all([
        this.options.WebSocket ?? findWebSocket(),
        this.options.binary ? messagePack() : json,
        this.token(),
      ])
      if (!this.wanted || this.socket !== null) return
      this.codec = codec
      const socket = new Socket(this.options.url)
      this.socket = socket
      socket.binaryType = "arraybuffer"
      this.timer = setTimeout(() => {
        if (this.socket === socket) this.break(connectionLost("the server did not answer in time"))
      }, WELCOME_WITHIN)
      socket.onopen = () => socket.send(codec.encode(this.hello(token)))
      socket.onmessage = (event: MessageEvent<string | ArrayBuffer>) => {
        if (this.socket === socket) this.heard(event.data)
      }
      socket.onclose = (event) => {
        if (this.socket !== socket) return
        this.socket = null
        this.lost(this.failure ?? connectionLost(event.reason || undefined), PERMANENT(event.code))
      }
      socket.onerror = () => {} // close follows, and says more
    } catch (error) {
      this.lost(error instanceof LumenizeError ? error : connectionLost(String(error)), false)
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

  private heard(data: string | ArrayBuffer): void {
    this.heardAt = Date.now()
    const frame = typeof data === "string" ? data : new Uint8Array(data)
    if (!isMessage(frame)) {
      this.events.frame(frame as Uint8Array)
      return
    }
    const message = this.codec.decode(frame)
    if (message.type === "welcome") {
      clearTimeout(this.timer)
      this.welcomed = true
      this.attempt = 0
      this.heartbeat = setInterval(() => this.beat(), this.options.heartbeatInterval / 2)
      const again = this.before
      this.before = true
      this.events.opened(message, again)
      this.settle(null)
    } else if (message.type === "failure" && message.id === undefined && message.sub === undefined) {
      this.failure = LumenizeError.of(message.error)
      if (this.welcomed) this.events.message(message)
    } else if (message.type !== "pong") {
      this.events.message(message)
    }
  }

  private beat(): void {
    const silence = Date.now() - this.heardAt
    if (silence > 2 * this.options.heartbeatInterval) this.break(connectionLost("the server fell silent"))
    else if (silence >= this.options.heartbeatInterval / 2) this.send({ type: "ping" })
  }

  private lost(error: LumenizeError, permanent: boolean): void {
    clearTimeout(this.timer)
    const final = permanent || (this.failure !== null && !this.failure.retryable)
    this.attempt += 1
    const delay =
      final || !this.options.autoReconnect ? null : delayBefore(this.attempt, this.options.backoff, Math.random())
    const willRetry = this.wanted && delay !== null
    this.ended(error, willRetry)
    if (!this.wanted) return
    if (willRetry) {
      this.timer = setTimeout(() => void this.open(), delay)
    } else {
      this.wanted = false
      this.settle(error)
      this.events.gaveUp(error)
    }
  }

  private ended(error: LumenizeError | null, willRetry = false): void {
    clearInterval(this.heartbeat)
    if (this.welcomed) {
      this.welcomed = false
      this.events.closed(error, willRetry)
    }
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

async function findWebSocket(): Promise<typeof WebSocket> {
  if (typeof WebSocket !== "undefined") return WebSocket
  const name = "ws" // not a literal, so that bundlers for the browser leave it alone
  return ((await import(/* @vite-ignore */ name)) as { WebSocket: typeof WebSocket }).WebSocket
}
