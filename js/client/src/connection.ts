/** One WebSocket at a time: opens it, sends hello, keeps it alive, and opens the next one when it breaks. */
import { delayBefore, type Backoff } from "./backoff.js"
import { present } from "./credentials.js"
import { asEnd, closedWith, connectionLost, invalid, LumenizeError } from "./errors.js"
import { isMessage, json, messagePack, VERSION, type ClientMessage, type Codec, type ServerMessage } from "./protocol.js"
import type { Credentials, Over } from "./types.js"

export type Welcome = Extract<ServerMessage, { type: "welcome" }>

export interface ConnectionOptions {
  url: string
  projectId?: string
  apiKey?: string
  autoReconnect: boolean
  backoff: Backoff
  /** Milliseconds of silence before the client pings the server; 0: never. */
  heartbeatInterval: number
  /** Milliseconds for the answer to that ping. */
  heartbeatTimeout: number
  /** Milliseconds from opening to welcome. */
  connectTimeout: number
  maxSubscriptions?: number
  maxEventsPerSecond?: number
  binaryProtocol: boolean
  WebSocket?: unknown
}

export interface ConnectionEvents {
  /** A connection is about to be opened with these credentials; it waits for the promise, which never rejects. */
  entering(credentials: Credentials, token: Promise<string | undefined>): Promise<void> | undefined
  /** The session has begun, with `token`; `again` if it is not the first. Restore the session's state here. */
  opened(welcome: Welcome, again: boolean, token: string | undefined): void
  message(message: ServerMessage): void
  /** A frame of a Yjs document. */
  frame(frame: Uint8Array): void
  /** A session has ended (`error` is `null` after `disconnect`). */
  closed(error: LumenizeError | null): void
  /** There is no connection: after a session, after the first failed attempt in a row, and after the last. */
  fail(error: LumenizeError): void
  /** No more attempts; `exhausted` if another might have succeeded. */
  gaveUp(over: Over, exhausted: boolean): void
}

/** A token function may return an expired token for a while: after a refusal, call it so many times more. */
const MOST_REFUSALS = 4

export class Connection {
  credentials: Credentials = {}
  private socket: WebSocket | null = null
  private codec: Codec = json
  /** Number of the current attempt; results of earlier attempts are ignored. */
  private turn = 0
  private attempt = 0
  /** How often in a row the server has refused a token of the function `token`. */
  private refusals = 0
  private wanted = false
  private welcome: Welcome | null = null
  private before = false
  private heardAt = 0
  /** When the last ping was sent. */
  private askedAt = 0
  /** Whether the socket of this attempt was opened: then the server itself reports errors. */
  private reached = false
  /** Whether the next attempt waits for its delay. */
  private delayed = false
  private timer: ReturnType<typeof setTimeout> | undefined
  private heartbeat: ReturnType<typeof setInterval> | undefined
  private waiting: { resolve: () => void; reject: (error: LumenizeError) => void }[] = []
  /** The server's reason for ending the session. */
  private failure: LumenizeError | null = null

  constructor(
    private readonly options: ConnectionOptions,
    private readonly events: ConnectionEvents,
  ) {}

  /** Whether the server has sent welcome. */
  get isOpen(): boolean {
    return this.welcome !== null
  }

  /** Resolves after welcome; rejects when no further attempt is made. */
  connect(credentials?: Credentials): Promise<void> {
    const before = this.credentials
    this.credentials = { ...before, ...credentials }
    const changes = this.wanted && !isSame(before, this.credentials)
    if (this.isOpen && !changes) return Promise.resolve()
    const promise = new Promise<void>((resolve, reject) => this.waiting.push({ resolve, reject }))
    if (changes) this.restart()
    else if (!this.wanted) {
      this.wanted = true
      this.attempt = 0
      this.refusals = 0
      this.watch("addEventListener")
      void this.open()
    }
    return promise
  }

  /** Ends the connection and does not reconnect. */
  disconnect(): void {
    if (this.wanted) this.stop(null, this.leave())
  }

  /** Closes the socket, if there is one. Returns whether there was a session. */
  private leave(): boolean {
    const { socket, isOpen } = this
    this.forget()
    socket?.close(1000)
    return isOpen
  }

  /** Starts over, because the current session has other credentials. */
  private restart(): void {
    this.before = false
    this.attempt = 0
    if (this.leave()) this.events.closed(null)
    if (this.wanted) void this.open() // a listener may have called disconnect()
  }

  /** Sends a message; returns an error if the server would refuse it. */
  send(message: ClientMessage): LumenizeError | null {
    if (this.welcome === null) return null
    const frame = this.codec.encode(message)
    const limit = this.welcome.limits.maxMessageBytes
    const size = typeof frame !== "string" ? frame.length : frame.length * 3 > limit ? new TextEncoder().encode(frame).length : 0
    return this.sendFrame(frame, size)
  }

  /** Sends a frame of `size` bytes; returns an error if the server would refuse it. */
  sendFrame(frame: string | Uint8Array<ArrayBuffer>, size: number): LumenizeError | null {
    const limit = this.welcome?.limits.maxMessageBytes ?? 0
    // sending it would end the connection, again after each reconnect
    if (limit > 0 && size > limit) return invalid(`a message of ${size} bytes; the limit is ${limit}`, { limit })
    if (this.welcome !== null) this.socket?.send(frame)
    return null
  }

  /** Begins or ends listening to what the browser knows of the network and the page. */
  private watch(how: "addEventListener" | "removeEventListener"): void {
    globalThis[how]?.("online", this.online)
    globalThis[how]?.("offline", this.offline)
    globalThis.document?.[how]("visibilitychange", this.visible)
  }

  /** The network is back: connect at once. */
  private readonly online = (): void => {
    if (this.delayed) void this.open()
  }

  /** The page is visible again and may have slept: connect, or check the connection, at once. */
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
    this.reached = false
    const { connectTimeout } = this.options
    const shown = present(this.credentials, connectTimeout) // its time ends first, with a clearer error
    this.timer = setTimeout(() => this.break(`${plain(this.options.url)} did not answer in time`), connectTimeout)
    try {
      const [Socket, codec, token] = await Promise.all([
        (this.options.WebSocket as typeof WebSocket | undefined) ?? findWebSocket(),
        this.options.binaryProtocol ? messagePack() : json,
        shown,
        this.events.entering(this.credentials, shown),
      ])
      if (turn !== this.turn) return
      this.codec = codec
      const socket = new Socket(this.options.url)
      this.socket = socket
      socket.binaryType = "arraybuffer"
      socket.onopen = () => {
        this.reached = true
        const { projectId, apiKey, maxSubscriptions, maxEventsPerSecond } = this.options
        const { userId } = this.credentials
        socket.send(codec.encode({ type: "hello", protocol: VERSION, projectId, apiKey, userId, token, maxSubscriptions, maxEventsPerSecond }))
      }
      socket.onmessage = (event: MessageEvent<string | ArrayBuffer>) => {
        if (this.socket === socket) this.read(event.data, token)
      }
      socket.onclose = ({ code, reason }) => {
        if (this.socket === socket) this.ended(this.failure ?? closedWith(code, reason))
      }
      socket.onerror = () => {} // the close event follows and has more information
    } catch (error) {
      if (turn === this.turn) this.lost(error instanceof LumenizeError ? error : connectionLost(String(error)))
    }
  }

  /** Every callback is guarded, so an exception here means an unreadable message, which must not be skipped. */
  private read(data: string | ArrayBuffer, token: string | undefined): void {
    try {
      this.heard(data, token)
    } catch (error) {
      this.failure = new LumenizeError("INTERNAL_ERROR", `cannot read a message of the server: ${String(error)}`)
      this.break("")
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
      this.refusals = 0
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
      // a page that slept has received nothing, but may still be in time: only an overdue answer counts
      if (now - this.askedAt >= heartbeatTimeout) this.break("the server does not answer")
    } else if (now - this.heardAt >= heartbeatInterval) this.askForLife(now)
  }

  private askForLife(now: number): void {
    if (this.askedAt > this.heardAt) return
    this.askedAt = now
    this.send({ type: "ping" })
  }

  /** Ends the current attempt or session without waiting for the server. */
  private break(why: string): void {
    const socket = this.socket as (WebSocket & { terminate?: () => void }) | null
    this.ended(this.failure ?? connectionLost(why))
    // `close` of `ws` would keep the process alive for half a minute, waiting for a peer that is gone
    if (socket?.terminate) socket.terminate()
    else socket?.close()
  }

  /** The end of an attempt or a session. If the socket never opened, diagnoses the first and the last attempt in a row. */
  private ended(error: LumenizeError): void {
    const { autoReconnect, backoff, url } = this.options
    if (this.reached || this.socket === null || !error.retryable) return this.lost(error)
    const last = !autoReconnect || delayBefore(this.attempt + 1, backoff, 0) === null
    if (globalThis.navigator?.onLine === false || !(last || this.attempt === 0)) {
      return this.lost(connectionLost(`no connection to ${plain(url)}: ${error.message}`))
    }
    void this.lookInto()
  }

  private async lookInto(): Promise<void> {
    const { url, connectTimeout } = this.options
    const { turn } = this
    clearTimeout(this.timer)
    this.socket = null
    const address = plain(url)
    const why = await import("./diagnosis.js").then(
      ({ diagnose }) => diagnose(address, (...request) => fetch(...request), globalThis.location?.origin, connectTimeout),
      String, // the page's own server is away, too
    )
    if (turn === this.turn) this.lost(connectionLost(`no connection to ${address}: ${why}`))
  }

  private lost(reason: LumenizeError): void {
    const error = asEnd(reason)
    const was = this.isOpen
    const first = was || this.attempt === 0
    const late = error.code === "AUTHENTICATION_FAILED" && typeof this.credentials.token === "function"
    const worthwhile = error.retryable || (late && this.refusals < MOST_REFUSALS)
    if (late) this.refusals += 1
    this.forget()
    this.attempt += 1
    const { autoReconnect, backoff } = this.options
    const delay = autoReconnect && worthwhile ? delayBefore(this.attempt, backoff, Math.random()) : null
    if (delay === null) return this.stop(error, was, worthwhile)
    this.delayed = true
    this.timer = setTimeout(() => void this.open(), delay)
    if (was) this.events.closed(error)
    if (first) this.events.fail(error)
  }

  /** Drops the state of the attempt or session. */
  private forget(): void {
    this.turn += 1
    clearTimeout(this.timer)
    clearInterval(this.heartbeat)
    this.delayed = false
    this.askedAt = 0
    this.socket = null
    this.welcome = null
  }

  /** Makes no more attempts. */
  private stop(error: LumenizeError | null, was: boolean, exhausted = false): void {
    this.wanted = false
    this.before = false
    this.watch("removeEventListener")
    const reason = error ?? connectionLost("disconnected")
    this.settle(reason)
    if (was) this.events.closed(error)
    if (error !== null) this.events.fail(error)
    // a listener may have called connect()
    if (!this.wanted) this.events.gaveUp({ reason, wanted: error === null }, exhausted)
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

/** A URL without password and query, for error messages. */
function plain(url: string): string {
  const { protocol, host, pathname } = new URL(url)
  return `${protocol}//${host}${pathname}`
}

function isSame(one: Credentials, other: Credentials): boolean {
  const asked = typeof one.token === "function" && typeof other.token === "function"
  return one.userId === other.userId && (asked || one.token === other.token)
}

async function findWebSocket(): Promise<typeof WebSocket> {
  if (typeof WebSocket !== "undefined") return WebSocket
  const name = "ws" // not a literal, so that bundlers for the browser leave it alone
  try {
    return ((await import(/* webpackIgnore: true */ /* @vite-ignore */ name)) as { WebSocket: typeof WebSocket }).WebSocket
  } catch {
    throw invalid("there is no WebSocket here (Node before 22): install the package ws, or pass it as the option WebSocket")
  }
}
