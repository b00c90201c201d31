/** The shared state of a client: the connection, and everything that outlives it. */
import { Connection, type Welcome } from "./connection.js"
import { present, renewIn } from "./credentials.js"
import { LumenizeError } from "./errors.js"
import { guarded, Listeners, quiet } from "./listeners.js"
import type { Op } from "./overlay.js"
import type { Request, ServerMessage, Written } from "./protocol.js"
import { readOptions } from "./options.js"
import { PresenceRooms } from "./presence.js"
import { Requests, type Kind } from "./requests.js"
import { Subscriptions } from "./subscriptions.js"
import type { ClientOptions, Conflict, Credentials } from "./types.js"
import type { WriteRequest } from "./writes.js"

export interface ConflictContext {
  collection: string
  id: string
}

/** The client's property for its core. A symbol cannot be the name of a collection. */
export const CORE: unique symbol = Symbol("core")

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
  /** The client has stopped connecting, with the error, or `null` after `disconnect`. */
  readonly stopped = new Listeners<[LumenizeError | null]>()
  /** The new session belongs to another user than the one before. */
  readonly userChanged = new Listeners<[LumenizeError]>()
  welcome: Welcome | null = null
  /** Whether the client has stopped connecting. */
  isOver = false
  readonly optimistic: boolean
  readonly onConflict: "merge" | "reject"
  private readonly channels = new Set<string>()
  readonly presence = new PresenceRooms((request) => this.lasting(request))
  private renewal: ReturnType<typeof setTimeout> | undefined

  constructor(options: ClientOptions) {
    const settings = readOptions(options)
    const isOpen = (): boolean => this.connection.isOpen
    const failed = (error: LumenizeError): void => this.fail(error)
    this.optimistic = settings.optimistic
    this.onConflict = settings.conflicts
    this.requests = new Requests(
      {
        isOpen,
        failed,
        send: (message) => this.connection.send(message),
        pending: () => this.pendingChanged.tell(this.requests.writes.size),
        isTold: (op) => this.subscriptions.rowsOf(op.collection).every((rows) => rows.isTold(op)),
        shown: (collection) => this.subscriptions.rowsOf(collection).forEach((rows) => rows.show()),
      },
      settings.maxPendingWrites,
      settings.requestTimeout,
    )
    this.subscriptions = new Subscriptions((request) => this.requests.ask(request, "session"), isOpen, failed)
    this.connection = new Connection(
      settings,
      {
        failed,
        opened: (welcome, again, token) => {
          this.userIs(welcome)
          this.renewLater(token)
          // channels first: the server sends missed custom events by the channels joined at that time
          for (const channel of this.channels) this.anew({ type: "joinChannel", channel })
          this.subscriptions.flush()
          for (const [room, state] of this.presence.states()) this.anew({ type: "joinPresence", room, state })
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
          const reason = error ?? new LumenizeError("CONNECTION_LOST", "disconnected", {}, true)
          this.isOver = true
          this.requests.stopped(reason)
          this.subscriptions.stopped(reason, error === null)
          this.stopped.tell(error)
          const { onReconnectFailed } = settings
          if (exhausted && onReconnectFailed) guarded(onReconnectFailed)
        },
      },
    )
    const { userId, token, onConflict } = settings
    this.connection.credentials = { ...(userId !== undefined && { userId }), ...(token !== undefined && { token }) }
    if (onConflict) this.conflicts.add(onConflict)
  }

  connect(credentials?: Credentials): Promise<void> {
    this.isOver = false
    this.requests.begin()
    this.subscriptions.begin()
    // `onError`, or else the console, gets the error too
    return quiet(this.connection.connect(credentials))
  }

  /** Reports an error that belongs to no call. */
  fail(error: LumenizeError): void {
    if (this.failed.size > 0) this.failed.tell(error)
    else console.warn(`Lumenize: ${error.code}: ${error.message} (client.onError has no listener)`)
  }

  /** Sends a request after earlier subscriptions. */
  ask<T>(request: Request, kind: Kind): Promise<T> {
    this.subscriptions.flush()
    return this.requests.ask<T>(request, kind)
  }

  /** Sends a write after earlier subscriptions, so that they receive its event. */
  write(request: WriteRequest, op: Op | undefined): Promise<Written> {
    this.subscriptions.flush()
    return this.requests.write(request, op)
  }

  /** The effect of an own write on rows, if they should show it before it is confirmed. */
  op(op: Omit<Op, "unset" | "made"> & { unset?: readonly string[] }): Op | undefined {
    return this.optimistic ? { unset: [], made: Date.now(), ...op } : undefined
  }

  join(channel: string): Promise<void> {
    this.channels.add(channel)
    return this.lasting({ type: "joinChannel", channel }, () => this.channels.delete(channel))
  }

  leave(channel: string): Promise<void> {
    this.channels.delete(channel)
    return this.lasting({ type: "leaveChannel", channel })
  }

  async authenticate(credentials: Credentials): Promise<void> {
    const { connection } = this
    const before = connection.credentials
    connection.credentials = { ...before, ...credentials }
    try {
      await this.renew()
    } catch (error) {
      // the session is unchanged, and the next one uses the old credentials too
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
    if (wait !== null) this.renewal = setTimeout(() => this.renew().catch((error) => this.fail(error as LumenizeError)), wait)
  }

  /** Rejects pending writes if the session belongs to another user now. */
  private userIs(welcome: Welcome): void {
    const before = this.welcome?.userId ?? null
    this.welcome = welcome
    if (before === null || before === welcome.userId) return
    const error = new LumenizeError("AUTHENTICATION_FAILED", `written by ${before}, whose session has ended`)
    this.requests.forgetWrites(error)
    this.userChanged.tell(error)
  }

  /** Sends a request whose effect lasts across connections: without a connection, the next one begins with it. */
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
    this.lasting(request).catch((error: LumenizeError) => this.fail(error))
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
      // messages of a later server are ignored
    }
  }
}

const MOST = 10_000

/** The newest version that this client has seen of each entity. */
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
