/** The client: one WebSocket, and everything that goes over it. */
import { Collection, type QueryWithCondition } from "./collection.js"
import { Core, type ConflictContext } from "./core.js"
import type { OpenDocument } from "./documents.js"
import { invalid, type LumenizeError } from "./errors.js"
import { quiet } from "./listeners.js"
import { checkCallback, checkName, checkOpen, checkSubscribe } from "./options.js"
import { NoticeSubscription, PresenceSubscription, type Subscription } from "./subscription.js"
import type {
  ClientOptions,
  Conflict,
  Credentials,
  Data,
  Entity,
  EntityEvent,
  OpenOptions,
  Person,
  Subscribed,
  SubscribeOptions,
  Unsubscribe,
} from "./types.js"

/** An event of an application's own kind: what was emitted, when, and by whom if that is known. */
export type CustomEvent = Data & { type: string; at: string; userId?: string }
export type SystemEventType = "schema_updated" | "permissions_changed" | "health"

/** Documents: entities like all others, which can also be opened and edited. */
export class Documents<T extends Data = Data> extends Collection<T> {
  private readonly opened = new Map<string, Promise<OpenDocument>>()
  private times = 0

  constructor(
    core: Core,
    name: string,
    private readonly link: DocumentLink,
  ) {
    super(core, name)
  }

  /**
   * Open a Yjs document, or `collection/id` of another collection. Needs the packages `yjs` and `y-protocols`.
   * Who opens what is open is given the same. `doc` is a Yjs document that exists already, with what it holds.
   */
  async open(id: string, options: OpenOptions = {}): Promise<OpenDocument> {
    checkName("the id of a document", id)
    const { doc } = checkOpen(options)
    const name = id.includes("/") ? id : `${this.name}/${id}`
    const known = this.opened.get(name)
    if (known !== undefined) {
      const open = await known
      if (doc === undefined || doc === open.doc) return open
      throw invalid(`${name} is open already, with another doc`)
    }
    const opening = import("./documents.js").then(({ openDocument }) =>
      // the server may still have something to say to those who had it open before
      openDocument(name, `${name}${this.times++ === 0 ? "" : `\0${this.times}`}`, this.link, () => this.opened.delete(name), doc),
    )
    this.opened.set(name, opening)
    opening.catch(() => this.opened.delete(name))
    return opening
  }
}

/** The client's socket, as far as documents use it. */
export interface DocumentLink {
  isOpen(): boolean
  /** Returns why the server would not take a frame. */
  send(frame: Uint8Array<ArrayBuffer>): LumenizeError | null
  /** Frames of the documents; what ends that is returned. */
  onFrame(listener: (frame: Uint8Array) => void): Unsubscribe
  onOpen(listener: () => void): Unsubscribe
  onClose(listener: () => void): Unsubscribe
  /** The next session is another user's. */
  onUserChange(listener: (error: LumenizeError) => void): Unsubscribe
}

export class Client {
  /** Custom events of the application. */
  readonly events: {
    /** Send an event to its channels, or without any to the whole project. */
    emit(event: Data & { type: string; channels?: string[] }): Promise<void>
    subscribe(type: string, callback: (event: CustomEvent) => void, options?: SubscribeOptions): Subscribed
    /** Be sent the events of a channel, also after reconnects. */
    join(channel: string): Promise<void>
    leave(channel: string): Promise<void>
  }
  /** What the system tells: changed schemas and permissions, and how the server does. */
  readonly system: {
    subscribe(type: SystemEventType, callback: (event: Data) => void, options?: SubscribeOptions): Subscribed
  }
  /** Numbers that are told whenever they change. */
  readonly analytics: {
    subscribe(metric: "active_users", callback: (value: number) => void, options?: SubscribeOptions): Subscribed
  }
  /** Who is in a room: `collection/id`, or the id of a document. */
  readonly presence: {
    subscribe(room: string, callback: (people: Person[], count: number) => void, options?: SubscribeOptions): Subscribed
    /** Be seen, with this state, until `leave`; also after reconnects. */
    join(room: string, state?: Data): Promise<void>
    update(room: string, state: Data): Promise<void>
    leave(room: string): Promise<void>
  }
  readonly documents: Documents
  /** @internal */
  readonly core: Core
  private readonly collections = new Map<string, Collection>()
  private latestSchema: Data | null = null

  constructor(options: ClientOptions = {}) {
    const core = (this.core = new Core(options))
    const notice = (
      target: ConstructorParameters<typeof NoticeSubscription>[0],
      name: unknown,
      callback: (what: never) => void,
      more: SubscribeOptions = {},
    ): Subscribed => {
      checkName("what is subscribed to", name)
      checkCallback(callback)
      return core.subscriptions.add(new NoticeSubscription(target, checkSubscribe(more), callback))
    }
    this.events = {
      emit: (event) => quiet(core.ask({ type: "emit", event }, "session")),
      subscribe: (event, callback, more) => notice({ kind: "custom", event }, event, callback, more),
      join: (channel) => quiet(core.join(channel)),
      leave: (channel) => quiet(core.leave(channel)),
    }
    this.system = { subscribe: (event, callback, more) => notice({ kind: "system", event }, event, callback, more) }
    this.analytics = { subscribe: (metric, callback, more) => notice({ kind: "analytics", metric }, metric, callback, more) }
    this.presence = {
      subscribe: (room, callback, more = {}) => {
        checkName("a room", room)
        checkCallback(callback)
        return core.subscriptions.add(new PresenceSubscription({ kind: "presence", room }, checkSubscribe(more), callback))
      },
      join: (room, state = {}) => quiet(core.presence.join(room, state)),
      update: (room, state) => quiet(core.presence.update(room, state)),
      leave: (room) => quiet(core.presence.leave(room)),
    }
    this.documents = new Documents(core, "documents", {
      isOpen: () => core.connection.isOpen,
      send: (frame) => core.connection.sendFrame(frame),
      onFrame: (listener) => core.frames.add(listener),
      onOpen: (listener) => core.opened.add(listener),
      onClose: (listener) => core.disconnected.add(listener),
      onUserChange: (listener) => core.userChanged.add(listener),
    })
    this.collections.set("documents", this.documents)
  }

  /** Connect. Resolves once the server has let us in; rejects if there is no use in trying on. */
  connect(credentials?: Credentials): Promise<void> {
    return this.core.connect(credentials)
  }

  /** Disconnect, and do not come back. Writes that are not confirmed wait for the next `connect`. */
  disconnect(): Promise<void> {
    this.core.connection.disconnect()
    return Promise.resolve()
  }

  isConnected(): boolean {
    return this.core.connection.isOpen
  }

  /** Show the next token of the same user, before the last one ends. A function as `token` is asked by itself. */
  authenticate(credentials: Credentials & { token: NonNullable<Credentials["token"]> }): Promise<void> {
    return this.core.authenticate(credentials)
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
  onConflict(callback: (conflicts: Conflict[], context: ConflictContext) => void): Unsubscribe {
    return this.core.conflicts.add(callback)
  }

  /** How many writes the server has not confirmed. */
  get pending(): number {
    return this.core.requests.writes.size
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
    return this.core.requests.writes.isPending(collection, id)
  }

  /** A collection by name; `client.tasks` is the same as `client.collection("tasks")`. */
  collection<T extends Data = Data>(name: string): Collection<T> {
    let known = this.collections.get(name)
    if (known === undefined) this.collections.set(name, (known = new Collection(this.core, name)))
    return known as unknown as Collection<T>
  }

  /** Gather subscriptions, and make them with one message. */
  createSubscriptionBatch(): SubscriptionBatch {
    return new SubscriptionBatch(this)
  }

  /** The declared collections: their JSON Schema, content and version. Cached until this is called again. */
  async refreshSchema(): Promise<Data> {
    return (this.latestSchema = await this.core.ask<Data>({ type: "schema" }, "read"))
  }

  /** What `refreshSchema` gave last. */
  get schema(): Data | null {
    return this.latestSchema
  }
}

export class SubscriptionBatch {
  private readonly added: Subscription[] = []

  constructor(private readonly client: Client) {}

  /** Add a subscription to a collection: to a query, to one id, or to `*`. */
  add<T extends Data = Data>(
    collection: string,
    target: string,
    callback: (event: EntityEvent<T>) => void,
    options?: SubscribeOptions,
  ): this
  add<T extends Data = Data>(
    collection: string,
    query: QueryWithCondition<T>,
    callback: (rows: Entity<T>[]) => void,
    options?: SubscribeOptions,
  ): this
  add<T extends Data = Data>(
    collection: string,
    target: string | QueryWithCondition<T>,
    callback: ((event: EntityEvent<T>) => void) | ((rows: Entity<T>[]) => void),
    options?: SubscribeOptions,
  ): this {
    this.added.push(this.client.collection<T>(collection).subscription(target, callback, options))
    return this
  }

  /** Subscribe. Resolves with what ends all of them, once all are confirmed; rejects if one is refused, with none left. */
  async execute(): Promise<Unsubscribe> {
    const active = this.added.splice(0).map((subscription) => this.client.core.subscriptions.add(subscription))
    const unsubscribe = (): void => active.forEach((each) => each())
    try {
      await Promise.all(active.map(({ ready }) => ready))
    } catch (error) {
      unsubscribe()
      throw error
    }
    return unsubscribe
  }
}

type Collections<C> = { readonly [Name in Exclude<keyof C, keyof Client>]: C[Name] extends Data ? Collection<C[Name]> : never }

/** A client whose collections are members: `client.tasks`. `C` maps their names to the types of their fields. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type LumenizeClient<C = any> = Client & Collections<C>

/** Makes a {@link LumenizeClient}. Members that it does not have itself are collections. */
export const LumenizeClient = /* @__PURE__ */ Object.assign(function (options?: ClientOptions): Client {
  return new Proxy(new Client(options), {
    get(client, name) {
      // what frameworks and consoles look for in every object is not a collection
      if (typeof name !== "string" || name in client || /^(then|toJSON|\$\$.*|__.*)$/.test(name)) {
        const value: unknown = Reflect.get(client, name, client)
        return typeof value === "function" ? (value as () => unknown).bind(client) : value
      }
      return client.collection(name)
    },
  })
}, { prototype: Client.prototype }) as unknown as {
  readonly prototype: Client
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  new <C = any>(options?: ClientOptions): LumenizeClient<C>
}
