/** The shared state of a client: the connection, and everything that outlives it. */
import { Connection, type ConnectionEvents, type Welcome } from "./connection.js"
import { present, renewIn } from "./credentials.js"
import { connectionLost, LumenizeError } from "./errors.js"
import type { DocumentLink } from "./document-link.js"
import type { Keeper, OwnCollection } from "./keeper.js"
import { guarded, inTurn, Listeners, quiet } from "./listeners.js"
import type { Op } from "./overlay.js"
import type { ClientMessage, Request, ServerMessage } from "./protocol.js"
import { checkName, readOptions, type Settings } from "./options.js"
import { PresenceRooms } from "./presence.js"
import { Requests, type Kind, type RequestEvents } from "./requests.js"
import { Subscriptions, type SubscriptionsHost } from "./subscriptions.js"
import type { Attached, ClientOptions, Conflict, ConflictContext, Credentials, Over, PersistOptions, Shown, Unsubscribe } from "./types.js"
import { plain } from "./values.js"
import { Versions } from "./versions.js"
import type { WriteRequest } from "./writes.js"

/** The client's property for its core. A symbol cannot be the name of a collection. */
export const CORE: unique symbol = Symbol("core")

const REJOIN_MS = 1000

export class Core implements ConnectionEvents, RequestEvents, SubscriptionsHost, DocumentLink {
  readonly turn = inTurn()
  readonly connected = new Listeners<[]>(this.turn)
  readonly disconnected = new Listeners<[LumenizeError | null]>(this.turn)
  readonly reconnected = new Listeners<[]>(this.turn)
  readonly failed = new Listeners<[LumenizeError]>(this.turn)
  readonly conflicts = new Listeners<[readonly Shown<Conflict>[], Shown<ConflictContext>]>(this.turn)
  readonly pendingChanged = new Listeners<[number]>(this.turn)
  /** The client has stopped connecting, or connects again. */
  readonly overChanged = new Listeners<[]>(this.turn)
  readonly versions = new Versions()
  readonly settings: Settings
  readonly connection: Connection
  readonly requests: Requests
  readonly subscriptions = new Subscriptions((request) => this.requests.ask(request, "session"), this)
  readonly presence = new PresenceRooms((request) => this.lasting(request))
  /** @internal */
  readonly documents = new Set<Attached>()
  private readonly channels = new Set<string>()
  welcome: Welcome | null = null
  /** Why the client has stopped connecting; `null` while it connects, and before it first does. */
  over: Over | null = null
  /** What keeps state across page loads, once it is loaded. */
  keeper: Keeper | null = null
  /** Resolves once what is kept is restored, as far as its user is known; `undefined` without the option `persist`. */
  loading: Promise<void> | undefined
  private renewal: ReturnType<typeof setTimeout> | undefined
  /** The server's time when this session began, and ours, in milliseconds; ours counts on whatever the clock says. */
  private began: { at: number; here: number } | null = null

  constructor(
    options: ClientOptions,
    /** A collection by name. */
    readonly collection: (name: string) => OwnCollection,
  ) {
    const settings = (this.settings = readOptions(options))
    const { maxPendingWrites, requestTimeout, userId, token, onConflict, persist } = settings
    this.requests = new Requests(this, maxPendingWrites, requestTimeout)
    this.connection = new Connection(settings, this)
    this.connection.credentials = { userId, token }
    if (onConflict) this.conflicts.add(onConflict)
    if (persist) this.loading = this.keep(persist).catch((error: LumenizeError) => this.fail(error))
  }

  /** Loads what keeps state. Rejects with `STORAGE_FAILED`. */
  private async keep(persist: PersistOptions): Promise<void> {
    const { openKeeper } = await import("./persist/keeper.js").catch((error) => {
      const details = { reason: "unavailable", cause: String(error) }
      throw new LumenizeError("STORAGE_FAILED", "the code of `persist` could not be loaded", details)
    })
    await openKeeper(this, persist)
  }

  // what the connection tells

  entering(credentials: Credentials, token: Promise<string | undefined>): Promise<void> | undefined {
    return this.loading?.then(() => this.keeper?.enter(credentials, token))
  }

  opened(welcome: Welcome, again: boolean, token: string | undefined): void {
    const at = Date.parse(welcome.at ?? "")
    this.began = at ? { at, here: performance.now() } : null // NaN: an older server does not say
    this.keeper?.opened(welcome) // before another user's writes are forgotten
    this.userIs(welcome)
    this.renewLater(token)
    // channels first: the server sends missed custom events by the channels joined at that time
    for (const channel of this.channels) this.anew({ type: "joinChannel", channel })
    this.subscriptions.flush()
    for (const [room] of this.presence.states()) this.joinAgain(room, welcome)
    this.requests.flush()
    this.documents.forEach((each) => each.opened())
    if (this.isOpen()) (again ? this.reconnected : this.connected).tell() // a callback may have ended it
  }

  message(message: ServerMessage): void {
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

  frame(frame: Uint8Array): void {
    this.documents.forEach((each) => each.frame(frame))
  }

  closed(error: LumenizeError | null): void {
    this.renewLater(undefined)
    this.subscriptions.interrupted()
    this.requests.lost(error ?? connectionLost("disconnected"))
    this.documents.forEach((each) => each.closed())
    this.disconnected.tell(error)
  }

  gaveUp(over: Over, exhausted: boolean): void {
    this.over = over
    this.requests.stopped(over.reason)
    this.subscriptions.stopped()
    this.documents.forEach((each) => each.stopped(over))
    this.overChanged.tell()
    const { onReconnectFailed } = this.settings
    if (exhausted && onReconnectFailed) this.turn(onReconnectFailed)
  }

  // what requests, subscriptions and documents use

  isOpen(): boolean {
    return this.connection.isOpen
  }

  send(message: ClientMessage): LumenizeError | null {
    return this.connection.send(message)
  }

  sendFrame(frame: Uint8Array<ArrayBuffer>): LumenizeError | null {
    return this.connection.sendFrame(frame, frame.length)
  }

  now(): number {
    return this.began === null ? Date.now() : this.began.at + performance.now() - this.began.here
  }

  /** The number of unconfirmed writes, and of documents with unsaved edits. */
  get unsaved(): number {
    return this.requests.writes.size + [...this.documents].filter(({ unsaved }) => unsaved).length + (this.keeper?.unsaved ?? 0)
  }

  pending(): void {
    this.pendingChanged.tell(this.unsaved)
  }

  shown(collection: string): void {
    for (const rows of this.subscriptions.rowsOf(collection)) rows.show()
  }

  isTold(op: Op): boolean {
    return this.subscriptions.rowsOf(op.collection).every((rows) => rows.isTold(op))
  }

  attach(document: Attached): Unsubscribe {
    this.documents.add(document)
    return () => this.documents.delete(document)
  }

  /** Adds the span of the application, if it has one. */
  private traced<R extends Request>(request: R): R {
    let traceparent: unknown
    guarded(() => (traceparent = plain(this.settings.traceparent?.() ?? null)))
    return typeof traceparent === "string" ? { ...request, traceparent } : request
  }

  /** Reports an error that belongs to no call. */
  fail(error: LumenizeError): void {
    if (this.failed.size > 0) this.failed.tell(error)
    else this.turn(() => console.warn(`Lumenize: ${error.code}: ${error.message} (client.onError has no listener)`))
  }

  connect(credentials?: Credentials): Promise<void> {
    this.over = null
    this.overChanged.tell()
    this.requests.over = null
    // `onError`, or else the console, gets the error too
    return quiet(this.connection.connect(credentials))
  }

  /** Sends a request after earlier subscriptions. */
  ask<T>(request: Request, kind: Kind): Promise<T> {
    this.subscriptions.flush()
    return this.requests.ask<T>(this.traced(request), kind)
  }

  /** Sends a write after earlier subscriptions, so that they receive its event. */
  write<T>(request: WriteRequest, ops: readonly (Op | undefined)[]): Promise<T> {
    this.subscriptions.flush()
    return this.requests.write(this.traced(request), ops)
  }

  /** Resolves once every write and edit so far is answered; rejects while the client has stopped connecting. */
  async saved(): Promise<void> {
    if (this.loading) await this.loading
    const { writes } = this.requests
    const last = writes.ids().at(-1) ?? 0
    const edited = new Set([...this.documents].filter(({ unsaved }) => unsaved))
    return new Promise((resolve, reject) => {
      const check = (): void => {
        for (const each of edited) if (!each.unsaved || !this.documents.has(each)) edited.delete(each)
        if (!writes.ids().some((id) => id <= last) && edited.size === 0 && !this.keeper?.unsaved) resolve()
        else if (this.over !== null) reject(this.over.reason)
        else return
        for (const stop of stops) stop()
      }
      const stops = [this.pendingChanged.add(check), this.overChanged.add(check)]
      check()
    })
  }

  /** Ends the session, and erases what is kept of its user. */
  async signOut(): Promise<void> {
    this.connection.disconnect()
    await this.loading
    const { persist } = this.settings
    if (persist && this.keeper === null) await this.keep(persist)
    await this.keeper?.erase()
  }

  async join(channel: string): Promise<void> {
    checkName("a channel", channel)
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
    const token = await present(credentials, this.settings.connectTimeout)
    if (token === undefined || !isOpen) return
    await this.requests.ask({ type: "authenticate", token, userId: credentials.userId }, "session")
    this.keeper?.renewed(credentials, token)
    this.renewLater(token)
  }

  private renewLater(token: string | undefined): void {
    clearTimeout(this.renewal)
    this.renewal = undefined
    if (typeof this.connection.credentials.token !== "function") return
    const wait = renewIn(token, Date.now())
    if (wait === null) return
    const renewal = (this.renewal = setTimeout(() => {
      this.renew().catch((error: LumenizeError) => {
        if (this.renewal !== renewal) return // the session has ended, or has a newer token
        this.fail(error)
        this.renewLater(token) // sooner and sooner, until this one expires
      })
    }, wait))
  }

  /** Rejects pending writes if the session belongs to another user now. */
  private userIs(welcome: Welcome): void {
    const before = this.welcome?.userId ?? null
    this.welcome = welcome
    if (before === null || before === welcome.userId) return
    const error = new LumenizeError("AUTHENTICATION_FAILED", `written by ${before}, whose session has ended`)
    this.requests.forgetWrites(error)
    this.documents.forEach((each) => each.userChanged(error))
  }

  /** Sends a request whose effect lasts across connections: without a connection, the next one begins with it. */
  private async lasting(request: Request, undo?: () => void): Promise<void> {
    if (!this.isOpen()) return
    try {
      await this.requests.ask(request, "session")
    } catch (error) {
      if ((error as LumenizeError).code === "CONNECTION_LOST") return
      undo?.()
      throw error
    }
  }

  private joinAgain(room: string, welcome: Welcome): void {
    const state = new Map(this.presence.states()).get(room)
    if (state === undefined || this.welcome !== welcome) return
    this.lasting({ type: "joinPresence", room, state }).catch((error: LumenizeError) => {
      this.fail(error)
      if (error.retryable) setTimeout(() => this.joinAgain(room, welcome), REJOIN_MS)
    })
  }

  private anew(request: Request): void {
    this.lasting(request).catch((error: LumenizeError) => this.fail(error))
  }
}
