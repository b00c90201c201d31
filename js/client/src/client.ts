/** The client: one WebSocket, and everything that goes over it. */
import type { Backoff } from "./backoff.js"
import { Collection, type QueryWithCondition } from "./collection.js"
import { Connection, type Welcome } from "./connection.js"
import { Versions, type Core } from "./core.js"
import { connectionLost, LumenizeError } from "./errors.js"
import { guarded, Listeners } from "./listeners.js"
import type { PendingWrite } from "./match.js"
import type { ServerMessage } from "./protocol.js"
import { Requests } from "./requests.js"
import { NoticeSubscription, PresenceSubscription, Subscriptions, type Subscription } from "./subscriptions.js"
import type {
  ClientOptions,
  Conflict,
  Credentials,
  Data,
  Person,
  SubscribeOptions,
  Unsubscribe,
  WebSocketOptions,
} from "./types.js"
import type { OpenDocument } from "./documents.js"

/** An event of an application's own kind: what was emitted, when, and by whom if that is known. */
export type CustomEvent = Data & { type: string; at: string; userId?: string }
export type SystemEventType = "schema_updated" | "permissions_changed" | "health"

/** Documents: entities like all others, which can also be opened and edited. */
export class Documents<T extends Data = Data> extends Collection<T> {
  private readonly opened = new Map<string, Promise<OpenDocument>>()

  constructor(
    core: Core,
    name: string,
    private readonly link: DocumentLink,
  ) {
    super(core, name)
  }

  /** Open a Yjs document, or `collection/id` of another collection. Needs the packages `yjs` and `y-protocols`. */
  async open(id: string): Promise<OpenDocument> {
    const name = id.includes("/") ? id : `${this.name}/${id}`
    const known = this.opened.get(name)
    if (known !== undefined) return known
    const opening = import("./documents.js").then(({ openDocument }) =>
      openDocument(name, this.link, () => this.opened.delete(name)),
    )
    this.opened.set(name, opening)
    opening.catch(() => this.opened.delete(name))
    return opening
  }
}

/** The client's socket, as far as documents use it. */
export interface DocumentLink {
  isOpen(): boolean
  send(frame: Uint8Array<ArrayBuffer>): void
  /** Frames of the documents; what ends that is returned. */
  onFrame(listener: (frame: Uint8Array) => void): Unsubscribe
  onOpen(listener: () => void): Unsubscribe
  onClose(listener: () => void): Unsubscribe
}

class CoreClient implements Core {
  readonly requests: Requests
  readonly subscriptions: Subscriptions
  readonly versions = new Versions()
  readonly connection: Connection
  readonly connected = new Listeners<[]>()
  readonly disconnected = new Listeners<[LumenizeError | null]>()
  readonly reconnected = new Listeners<[]>()
  readonly failed = new Listeners<[LumenizeError]>()
  readonly conflicts = new Listeners<[Conflict[], { collection: string; id: string }]>()
  readonly pendingChanged = new Listeners<[number]>()
  readonly frames = new Listeners<[Uint8Array]>()
  readonly opened = new Listeners<[]>()
  welcome: Welcome | null = null
  schema: Data | null = null
  private readonly expected: PendingWrite[] = []
  private readonly optimistic: boolean
  private readonly channels = new Set<string>()
  private readonly joined = new Map<string, Data>()

  constructor(options: ClientOptions) {
    const websocket = options.websocket ?? {}
    this.optimistic = options.optimistic ?? true
    const limits = websocket.subscriptionRateLimit
    const isOpen = (): boolean => this.connection.isOpen
    this.requests = new Requests(
      (message) => this.connection.send(message),
      isOpen,
      options.maxPendingWrites ?? 1000,
      () => this.pendingChanged.tell(this.requests.writes),
    )
    this.subscriptions = new Subscriptions(
      (request) => this.requests.ask(request, "session"),
      isOpen,
      (error) => this.failed.tell(error),
    )
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
        opened: (welcome, again) => {
          this.welcome = welcome
          this.subscriptions.resume()
          for (const channel of this.channels) this.session({ type: "joinChannel", channel })
          for (const [room, state] of this.joined) this.session({ type: "joinPresence", room, state })
          this.requests.resume()
          this.opened.tell()
          if (again) this.reconnected.tell()
          else this.connected.tell()
        },
        message: (message) => this.heard(message),
        frame: (frame) => this.frames.tell(frame),
        closed: (error, willRetry) => {
          this.subscriptions.interrupted()
          this.requests.lost(error ?? connectionLost(), !willRetry)
          this.disconnected.tell(error)
          if (error !== null) this.failed.tell(error)
        },
        gaveUp: (error) => {
          this.requests.lost(error, true)
          this.failed.tell(error)
          const { onReconnectFailed } = websocket
          if (onReconnectFailed) guarded(onReconnectFailed)
        },
      },
    )
    this.connection.authenticateWith({
      ...(options.userId !== undefined && { userId: options.userId }),
      ...(options.token !== undefined && { token: options.token }),
    })
    if (options.onConflict) this.conflicts.add(options.onConflict)
  }

  expect(write: PendingWrite): () => void {
    if (!this.optimistic) return () => {}
    this.expected.push(write)
    this.show(write.collection)
    return () => {
      this.expected.splice(this.expected.indexOf(write), 1)
      this.show(write.collection)
    }
  }

  pendingOf(collection: string): readonly PendingWrite[] {
    return this.expected.filter((write) => write.collection === collection)
  }

  conflicted(conflicts: Conflict[], context: { collection: string; id: string }): void {
    this.conflicts.tell(conflicts, context)
  }

  join(channel: string): Promise<void> {
    this.channels.add(channel)
    return this.connection.isOpen ? this.requests.ask({ type: "joinChannel", channel }, "session") : Promise.resolve()
  }

  leave(channel: string): Promise<void> {
    this.channels.delete(channel)
    return this.connection.isOpen ? this.requests.ask({ type: "leaveChannel", channel }, "session") : Promise.resolve()
  }

  present(room: string, state: Data | null, patch = false): Promise<void> {
    if (state === null) this.joined.delete(room)
    else this.joined.set(room, patch ? { ...this.joined.get(room), ...state } : state)
    if (!this.connection.isOpen) return Promise.resolve()
    return this.requests.ask(
      state === null
        ? { type: "leavePresence", room }
        : { type: patch ? "updatePresence" : "joinPresence", room, state },
      "session",
    )
  }

  private session(request: Parameters<Requests["ask"]>[0]): void {
    this.requests.ask(request, "session").catch((error: LumenizeError) => {
      if (error.code !== "CONNECTION_LOST") this.failed.tell(error)
    })
  }

  private show(collection: string): void {
    for (const rows of this.subscriptions.rowsOf(collection)) rows.show()
  }

  private heard(message: ServerMessage): void {
    switch (message.type) {
      case "reply":
        return this.requests.answered(message.id, message.result)
      case "failure": {
        const error = LumenizeError.of(message.error)
        if (message.id !== undefined) this.requests.refused(message.id, error)
        else if (message.sub !== undefined) this.subscriptions.ended(message.sub, error)
        else this.failed.tell(error)
        return
      }
      case "welcome":
      case "pong":
        return
      default:
        this.subscriptions.tell(message)
    }
  }
}

export class Client {
  /** Custom events of the application. */
  readonly events: {
    /** Send an event to its channels, or without any to the whole project. */
    emit(event: Data & { type: string; channels?: string[] }): Promise<void>
    subscribe(type: string, callback: (event: CustomEvent) => void, options?: SubscribeOptions): Unsubscribe
    /** Be sent the events of a channel, also after reconnects. */
    join(channel: string): Promise<void>
    leave(channel: string): Promise<void>
  }
  /** What the system tells: changed schemas and permissions, and how the server does. */
  readonly system: {
    subscribe(type: SystemEventType, callback: (event: Data) => void, options?: SubscribeOptions): Unsubscribe
  }
  /** Numbers that are told whenever they change. */
  readonly analytics: {
    subscribe(metric: "active_users", callback: (value: number) => void, options?: SubscribeOptions): Unsubscribe
  }
  /** Who is in a room: `collection/id`, or the id of a document. */
  readonly presence: {
    subscribe(room: string, callback: (people: Person[], count: number) => void, options?: SubscribeOptions): Unsubscribe
    /** Be seen, with this state, until `leave`; also after reconnects. */
    join(room: string, state?: Data): Promise<void>
    update(room: string, state: Data): Promise<void>
    leave(room: string): Promise<void>
  }
  readonly documents: Documents
  /** @internal */
  readonly core: CoreClient
  private readonly known = new Map<string, Collection>()

  constructor(options: ClientOptions = {}) {
    const core = (this.core = new CoreClient(options))
    const notice = (
      target: ConstructorParameters<typeof NoticeSubscription>[0],
      callback: (what: never) => void,
      more: SubscribeOptions = {},
    ): Unsubscribe => core.subscriptions.add(new NoticeSubscription(target, more, callback)).unsubscribe
    this.events = {
      emit: (event) => core.requests.ask({ type: "emit", event }, "session"),
      subscribe: (event, callback, more) => notice({ kind: "custom", event }, callback, more),
      join: (channel) => core.join(channel),
      leave: (channel) => core.leave(channel),
    }
    this.system = { subscribe: (event, callback, more) => notice({ kind: "system", event }, callback, more) }
    this.analytics = { subscribe: (metric, callback, more) => notice({ kind: "analytics", metric }, callback, more) }
    this.presence = {
      subscribe: (room, callback, more = {}) =>
        core.subscriptions.add(new PresenceSubscription({ kind: "presence", room }, more, callback)).unsubscribe,
      join: (room, state = {}) => core.present(room, state),
      update: (room, state) => core.present(room, state, true),
      leave: (room) => core.present(room, null),
    }
    this.documents = new Documents(core, "documents", {
      isOpen: () => core.connection.isOpen,
      send: (frame) => core.connection.sendFrame(frame),
      onFrame: (listener) => core.frames.add(listener),
      onOpen: (listener) => core.opened.add(listener),
      onClose: (listener) => core.disconnected.add(listener),
    })
    this.known.set("documents", this.documents)
  }

  /** Connect. Resolves once the server has let us in; rejects if there is no use in trying on. */
  connect(credentials?: Credentials): Promise<void> {
    return this.core.connection.connect(credentials)
  }

  /** Disconnect, and do not come back. Writes that are not confirmed wait for the next `connect`. */
  disconnect(): Promise<void> {
    this.core.connection.disconnect()
    return Promise.resolve()
  }

  isConnected(): boolean {
    return this.core.connection.isOpen
  }

  /** Show the next token of the same user, before the last one ends. */
  async authenticate(credentials: Credentials & { token: NonNullable<Credentials["token"]> }): Promise<void> {
    this.core.connection.authenticateWith(credentials)
    const token = await this.core.connection.token()
    if (token === undefined || !this.isConnected()) return
    const { userId } = credentials
    await this.core.requests.ask({ type: "authenticate", token, ...(userId !== undefined && { userId }) }, "session")
  }

  onConnect(callback: () => void): Unsubscribe {
    return this.core.connected.add(callback)
  }

  /** `error` is `null` after `disconnect()`. */
  onDisconnect(callback: (error: LumenizeError | null) => void): Unsubscribe {
    return this.core.disconnected.add(callback)
  }

  onReconnect(callback: () => void): Unsubscribe {
    return this.core.reconnected.add(callback)
  }

  /** Errors that belong to no single call: the connection's and the subscriptions'. */
  onError(callback: (error: LumenizeError) => void): Unsubscribe {
    return this.core.failed.add(callback)
  }

  /** A write of ours met one that we had not seen. It was made all the same; `winner` says what holds now. */
  onConflict(callback: (conflicts: Conflict[], context: { collection: string; id: string }) => void): Unsubscribe {
    return this.core.conflicts.add(callback)
  }

  /** How many writes the server has not confirmed. */
  get pending(): number {
    return this.core.requests.writes
  }

  onPending(callback: (count: number) => void): Unsubscribe {
    return this.core.pendingChanged.add(callback)
  }

  /** Resolves once every write so far is confirmed (or refused). */
  saved(): Promise<void> {
    if (this.pending === 0) return Promise.resolve()
    return new Promise((resolve) => {
      const stop = this.onPending((count) => {
        if (count > 0) return
        stop()
        resolve()
      })
    })
  }

  /** Whether this client has written something to an entity that is not confirmed. */
  isPending(collection: string, id: string): boolean {
    return this.core.pendingOf(collection).some((write) => write.id === id)
  }

  /** A collection by name; `client.tasks` is the same as `client.collection("tasks")`. */
  collection<T extends Data = Data>(name: string): Collection<T> {
    let known = this.known.get(name)
    if (known === undefined) this.known.set(name, (known = new Collection(this.core, name)))
    return known as unknown as Collection<T>
  }

  /** Gather subscriptions, and make them with one message. */
  createSubscriptionBatch(): SubscriptionBatch {
    return new SubscriptionBatch(this)
  }

  /** The declared collections: their JSON Schema, content and version. Cached until this is called again. */
  async refreshSchema(): Promise<Data> {
    return (this.core.schema = await this.core.requests.ask<Data>({ type: "schema" }, "read"))
  }

  /** What `refreshSchema` gave last. */
  get schema(): Data | null {
    return this.core.schema
  }
}

export class SubscriptionBatch {
  private readonly added: Subscription[] = []

  constructor(private readonly client: Client) {}

  /** Add a subscription to a collection: to a query, to one id, or to `*`. */
  add(
    collection: string,
    target: string | QueryWithCondition,
    callback: (what: never) => void,
    options?: SubscribeOptions,
  ): this {
    this.added.push(this.client.collection(collection).subscription(target, callback, options))
    return this
  }

  /** Subscribe. Resolves with what ends all of them, once all are confirmed; rejects if one is refused, with none left. */
  async execute(): Promise<Unsubscribe> {
    const active = this.added.splice(0).map((subscription) => this.client.core.subscriptions.add(subscription))
    const unsubscribe = (): void => active.forEach((each) => each.unsubscribe())
    try {
      await Promise.all(active.map(({ ready }) => ready))
    } catch (error) {
      unsubscribe()
      throw error
    }
    return unsubscribe
  }
}

type Collections<C> = { readonly [Name in Exclude<keyof C, keyof Client>]: Collection<C[Name] & Data> }

/** A client whose collections are members: `client.tasks`. `C` maps their names to the types of their fields. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type LumenizeClient<C = any> = Client & Collections<C>

/** Makes a {@link LumenizeClient}. Members that it does not have itself are collections. */
export const LumenizeClient = function (options?: ClientOptions): Client {
  return new Proxy(new Client(options), {
    get(client, name) {
      if (typeof name !== "string" || name in client || name === "then" || name === "toJSON") {
        const value: unknown = Reflect.get(client, name, client)
        return typeof value === "function" ? (value as () => unknown).bind(client) : value
      }
      return client.collection(name)
    },
  })
} as unknown as {
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  new <C = any>(options?: ClientOptions): LumenizeClient<C>
}

function endpoint(url: string | undefined): string {
  const page = typeof location === "undefined" || !location.host ? "http://localhost:8000" : location.origin
  const target = new URL(url ?? page)
  target.protocol = target.protocol === "https:" || target.protocol === "wss:" ? "wss:" : "ws:"
  if (!target.pathname.endsWith("/realtime")) target.pathname = target.pathname.replace(/\/$/, "") + "/realtime"
  return target.href
}

function backoffOf(options: WebSocketOptions): Backoff {
  const interval = options.reconnectInterval
  return {
    strategy: options.reconnectStrategy ?? (interval === undefined ? "exponential" : "linear"),
    initialDelay: options.initialDelay ?? interval ?? 1000,
    maxDelay: options.maxDelay ?? 30_000,
    backoffFactor: options.backoffFactor ?? 2,
    maxAttempts: options.maxAttempts ?? options.maxReconnectAttempts ?? Infinity,
  }
}
