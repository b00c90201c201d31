/** What the parts of a client share: the connection, and everything that outlives it. */
import type { Backoff } from "./backoff.js"
import { Connection, type Welcome } from "./connection.js"
import { present, renewIn } from "./credentials.js"
import { LumenizeError } from "./errors.js"
import { guarded, Listeners } from "./listeners.js"
import type { Op } from "./overlay.js"
import type { Request, ServerMessage, Written } from "./protocol.js"
import { plain, Requests, type Kind } from "./requests.js"
import { Subscriptions } from "./subscriptions.js"
import type { ClientOptions, Conflict, Credentials, Data, WebSocketOptions } from "./types.js"
import type { WriteRequest } from "./writes.js"

export interface ConflictContext {
  collection: string
  id: string
}

export class Core {
  readonly connection: Connection
  readonly requests: Requests
  readonly subscriptions: Subscriptions
  readonly versions = new Versions()
  readonly connected = new Listeners<[]>()
  readonly disconnected = new Listeners<[LumenizeError | null]>()
  readonly reconnected = new Listeners<[]>()
  readonly failed = new Listeners<[LumenizeError]>()
  readonly conflicts = new Listeners<[Conflict[], ConflictContext]>()
  readonly pendingChanged = new Listeners<[number]>()
  /** Frames of documents. */
  readonly frames = new Listeners<[Uint8Array]>()
  readonly opened = new Listeners<[]>()
  welcome: Welcome | null = null
  readonly optimistic: boolean
  private readonly channels = new Set<string>()
  private readonly joined = new Map<string, Data>()
  private renewal: ReturnType<typeof setTimeout> | undefined

  constructor(options: ClientOptions) {
    const websocket = options.websocket ?? {}
    const limits = websocket.subscriptionRateLimit
    const isOpen = (): boolean => this.connection.isOpen
    const failed = (error: LumenizeError): void => this.failed.tell(error)
    this.optimistic = options.optimistic ?? true
    this.requests = new Requests(
      {
        isOpen,
        failed,
        send: (message) => this.connection.send(message),
        pending: () => this.pendingChanged.tell(this.requests.writes.size),
        shown: (collection) => this.subscriptions.rowsOf(collection).forEach((rows) => rows.show()),
      },
      options.maxPendingWrites ?? 1000,
    )
    this.subscriptions = new Subscriptions((request) => this.requests.ask(request, "session"), isOpen, failed)
    this.connection = new Connection(
      {
        url: endpoint(options.url),
        projectId: options.projectId,
        apiKey: options.apiKey,
        autoReconnect: websocket.autoReconnect ?? true,
        backoff: backoffOf(websocket),
        heartbeatInterval: websocket.heartbeatInterval ?? 30_000,
        maxSubscriptions: limits?.maxSubscriptions,
        maxEventsPerSecond: limits?.maxEventsPerSecond,
        binary: websocket.binaryProtocol ?? false,
        WebSocket: options.WebSocket as typeof WebSocket | undefined,
      },
      {
        failed,
        opened: (welcome, again, token) => {
          this.welcome = welcome
          this.renewLater(token)
          // channels first: custom events that were missed are sent by those that are joined by then
          for (const channel of this.channels) this.anew({ type: "joinChannel", channel })
          this.subscriptions.flush()
          for (const [room, state] of this.joined) this.anew({ type: "joinPresence", room, state })
          this.requests.flush()
          this.opened.tell()
          ;(again ? this.reconnected : this.connected).tell()
        },
        message: (message) => this.heard(message),
        frame: (frame) => this.frames.tell(frame),
        closed: (error) => {
          clearTimeout(this.renewal)
          this.subscriptions.interrupted()
          this.requests.lost(error ?? new LumenizeError("CONNECTION_LOST", "disconnected", {}, true))
          this.disconnected.tell(error)
        },
        gaveUp: (error, exhausted) => {
          this.requests.stopped(error)
          const { onReconnectFailed } = websocket
          if (exhausted && onReconnectFailed) guarded(onReconnectFailed)
        },
      },
    )
    const { userId, token } = options
    this.connection.credentials = { ...(userId !== undefined && { userId }), ...(token !== undefined && { token }) }
    if (options.onConflict) this.conflicts.add(options.onConflict)
  }

  connect(credentials?: Credentials): Promise<void> {
    this.requests.begin()
    return this.connection.connect(credentials)
  }

  /** Ask for something, after what was subscribed to before. */
  ask<T>(request: Request, kind: Kind): Promise<T> {
    this.subscriptions.flush()
    return this.requests.ask<T>(request, kind)
  }

  /** Write something, after what was subscribed to before: that is to hear of it. */
  write(request: WriteRequest, op: Op | undefined): Promise<Written> {
    this.subscriptions.flush()
    return this.requests.write(request, op)
  }

  /** What an own write does to rows, if they are to show it. */
  op(op: Omit<Op, "unset"> & { unset?: readonly string[] }): Op | undefined {
    return this.optimistic ? { unset: [], ...op } : undefined
  }

  join(channel: string): Promise<void> {
    this.channels.add(channel)
    return this.lasting({ type: "joinChannel", channel }, () => this.channels.delete(channel))
  }

  leave(channel: string): Promise<void> {
    this.channels.delete(channel)
    return this.lasting({ type: "leaveChannel", channel })
  }

  joinPresence(room: string, state: Data): Promise<void> {
    this.joined.set(room, plain(state))
    return this.lasting({ type: "joinPresence", room, state }, () => this.joined.delete(room))
  }

  updatePresence(room: string, state: Data): Promise<void> {
    const known = this.joined.get(room)
    if (known !== undefined) this.joined.set(room, { ...known, ...plain(state) })
    return this.lasting({ type: "updatePresence", room, state })
  }

  leavePresence(room: string): Promise<void> {
    this.joined.delete(room)
    return this.lasting({ type: "leavePresence", room })
  }

  async authenticate(credentials: Credentials): Promise<void> {
    const { connection } = this
    const before = connection.credentials
    connection.credentials = { ...before, ...credentials }
    try {
      await this.renew()
    } catch (error) {
      // the session is as it was, and so shall the next one be
      if ((error as LumenizeError).code !== "CONNECTION_LOST") connection.credentials = before
      throw error
    }
  }

  private async renew(): Promise<void> {
    const { credentials, isOpen } = this.connection
    const token = await present(credentials)
    if (token === undefined || !isOpen) return
    const { userId } = credentials
    await this.requests.ask({ type: "authenticate", token, ...(userId !== undefined && { userId }) }, "session")
    this.renewLater(token)
  }

  private renewLater(token: string | undefined): void {
    clearTimeout(this.renewal)
    if (typeof this.connection.credentials.token !== "function") return
    const wait = renewIn(token, Date.now())
    if (wait !== null) this.renewal = setTimeout(() => this.renew().catch((error) => this.failed.tell(error as LumenizeError)), wait)
  }

  /** Something that lasts over connections: without one, the next one begins with it. */
  private async lasting(request: Request, undo?: () => void): Promise<void> {
    if (!this.connection.isOpen) return
    try {
      await this.requests.ask(request, "session")
    } catch (error) {
      if ((error as LumenizeError).code === "CONNECTION_LOST") return
      undo?.()
      throw error
    }
  }

  private anew(request: Request): void {
    this.lasting(request).catch((error: LumenizeError) => this.failed.tell(error))
  }

  private heard(message: ServerMessage): void {
    switch (message.type) {
      case "reply":
        return this.requests.answered(message.id, message.result)
      case "failure": {
        const error = LumenizeError.of(message.error)
        if (message.id !== undefined) this.requests.refused(message.id, error)
        else if (message.sub !== undefined) this.subscriptions.ended(message.sub, error)
        return
      }
      case "event":
      case "rows":
      case "diff":
      case "custom":
      case "system":
      case "metric":
      case "presence":
        this.subscriptions.tell(message)
      // whatever else there is, a later server says
    }
  }
}

const MOST = 10_000

/** The last version that this client has seen of each entity. */
export class Versions {
  private readonly seen = new Map<string, number>()

  get(collection: string, id: string): number | undefined {
    return this.seen.get(`${collection}/${id}`)
  }

  see(collection: string, id: string, version: number): void {
    const name = `${collection}/${id}`
    const known = this.seen.get(name) ?? 0
    this.seen.delete(name)
    this.seen.set(name, Math.max(known, version))
    if (this.seen.size > MOST) this.seen.delete(this.seen.keys().next().value as string)
  }
}

function endpoint(url: string | undefined): string {
  const page = typeof location === "undefined" || !location.host ? "http://localhost:8000" : location.origin
  const target = new URL(url ?? page)
  target.protocol = target.protocol === "https:" || target.protocol === "wss:" ? "wss:" : "ws:"
  if (!target.pathname.endsWith("/realtime")) target.pathname = target.pathname.replace(/\/$/, "") + "/realtime"
  return target.href
}

function backoffOf(options: WebSocketOptions): Backoff {
  return {
    strategy: options.reconnectStrategy ?? "exponential",
    initialDelay: options.initialDelay ?? options.reconnectInterval ?? 1000,
    maxDelay: options.maxDelay ?? 30_000,
    backoffFactor: options.backoffFactor ?? 2,
    maxAttempts: options.maxAttempts ?? options.maxReconnectAttempts ?? Infinity,
  }
}
