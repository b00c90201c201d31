/** The client: one WebSocket, and everything that uses it. */
import { Collection, randomId } from "./collection.js"
import { Core, CORE } from "./core.js"
import type { OpenDocument } from "./documents.js"
import { invalid, type LumenizeError } from "./errors.js"
import { frozen } from "./frozen.js"
import { quiet } from "./listeners.js"
import { check, checkCallback, checkName, checkObject, OPEN, SUBSCRIBE } from "./options.js"
import { Transaction } from "./transaction.js"
import { NoticeSubscription, PresenceSubscription, type Subscription } from "./subscription.js"
import type { Field, IncludeOf, Including, Nothing, QueryWithCondition, RowWith } from "./queries.js"
import type { Data, NameOf, Registered, RowOf } from "./schema.js"
import type {
  ClientOptions,
  Conflict,
  ConflictContext,
  Credentials,
  EntityEvent,
  OpenOptions,
  Person,
  Shown,
  Subscribed,
  SubscribeOptions,
  Unsubscribe,
} from "./types.js"

/** A custom event: the emitted members, the time, and the user if known. */
export type CustomEvent = Data & { type: string; at: string; userId?: string }
export type SystemEventType = "schema_updated" | "permissions_changed" | "health"

/** Documents: entities that can also be opened and edited. */
export class Documents<T extends Data = Data> extends Collection<T> {
  private readonly opened = new Map<string, Promise<OpenDocument>>()
  private times = 0

  /**
   * Opens a Yjs document, also `collection/id` of another collection. Requires the packages `yjs` and `y-protocols`.
   * Opening an open document returns the same object. `doc` is an existing Yjs document with its content.
   */
  async open(id: string, options: OpenOptions = {}): Promise<OpenDocument> {
    checkName("the id of a document", id)
    const { doc } = check(options, OPEN)
    const name = id.includes("/") ? id : `${this.name}/${id}`
    const known = this.opened.get(name)
    if (known !== undefined) {
      const open = await known
      if (doc === undefined || doc === open.doc) return open
      throw invalid(`${name} is open already, with another doc`)
    }
    const opening = import("./documents.js").then(({ openDocument }) =>
      // a new address, because the server may still send messages to an earlier opening
      openDocument(name, `${name}${this.times++ === 0 ? "" : `\0${this.times}`}`, this.core, () => this.opened.delete(name), doc),
    )
    this.opened.set(name, opening)
    opening.catch(() => this.opened.delete(name))
    return opening
  }
}

/** `C` maps the names of collections to the types of their fields. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export class Client<C = any> {
  /** Custom events of the application. */
  readonly events: {
    /** Sends an event to its channels (none: to nobody), or without `channels` to the whole project. */
    emit(event: Data & { type: string; channels?: string[] }): Promise<void>
    subscribe(type: string, callback: (event: CustomEvent) => void, options?: SubscribeOptions): Subscribed
    /** Joins a channel, also after reconnects. */
    join(channel: string): Promise<void>
    leave(channel: string): Promise<void>
  }
  /** System events: changed schemas and permissions, and the server's health. */
  readonly system: {
    subscribe(type: SystemEventType, callback: (event: Data) => void, options?: SubscribeOptions): Subscribed
  }
  /** Numbers, sent after each change. */
  readonly analytics: {
    subscribe(metric: "active_users", callback: (value: number) => void, options?: SubscribeOptions): Subscribed
  }
  /** The people in a room: `collection/id`, or the id of a document. */
  readonly presence: {
    subscribe(room: string, callback: (people: Person[], count: number) => void, options?: SubscribeOptions): Subscribed
    /** Shows this state to others until `leave`, also after reconnects. */
    join(room: string, state?: Data): Promise<void>
    update(room: string, state: Data): Promise<void>
    leave(room: string): Promise<void>
  }
  readonly documents: Documents<C extends { documents: infer T extends Data } ? T : Data>
  /** @internal */
  readonly [CORE]: Core
  readonly #collections = new Map<string, Collection>()
  #schema: Data | null = null

  constructor(options: ClientOptions = {}) {
    const core = (this[CORE] = new Core(options, (name) => this.collection(name)))
    const begin = <T, C>(
      Kind: new (target: T, options: SubscribeOptions, callback: C) => Subscription,
      target: T,
      name: unknown,
      callback: C,
      more: SubscribeOptions = {},
    ): Subscribed => {
      checkName("the target", name)
      checkCallback(callback)
      return core.subscriptions.add(new Kind(target, check(more, SUBSCRIBE), callback))
    }
    this.events = {
      emit: (event) =>
        quiet(
          (async () => {
            checkObject("an event", event)
            // JSON would leave undefined out, and everybody get the event
            if ("channels" in event && !event.channels) throw invalid("channels: undefined")
            await core.ask({ type: "emit", event, request: randomId() }, "now")
          })(),
        ),
      subscribe: (event, callback, more) => begin(NoticeSubscription, { kind: "custom", event }, event, callback, more),
      join: (channel) => quiet(core.join(channel)),
      leave: (channel) => quiet(core.leave(channel)),
    }
    this.system = { subscribe: (event, callback, more) => begin(NoticeSubscription, { kind: "system", event }, event, callback, more) }
    this.analytics = { subscribe: (metric, callback, more) => begin(NoticeSubscription, { kind: "analytics", metric }, metric, callback, more) }
    this.presence = {
      subscribe: (room, callback, more) => begin(PresenceSubscription, { kind: "presence", room }, room, callback, more),
      join: (room, state = {}) => quiet(core.presence.join(room, state)),
      update: (room, state) => quiet(core.presence.update(room, state)),
      leave: (room) => quiet(core.presence.leave(room)),
    }
    const documents = new Documents(core, "documents")
    this.documents = documents as unknown as this["documents"]
    this.#collections.set("documents", documents)
  }

  /**
   * Connects. Resolves once the server has accepted the session; rejects on a permanent error. If nothing answers it
   * keeps trying, up to `maxAttempts`; `onError` gets the reason why the first attempt failed.
   */
  connect(credentials?: Credentials): Promise<void> {
    return this[CORE].connect(credentials)
  }

  /** Disconnects and does not reconnect. Unconfirmed writes wait for the next `connect`. */
  async disconnect(): Promise<void> {
    this[CORE].connection.disconnect()
  }

  /**
   * Ends the session, and erases what the option `persist` keeps of its user; other tabs of the user end theirs. Writes
   * and edits that wait are lost, in other tabs, too: wait for `saved()` first where that matters. The next `connect`
   * needs credentials.
   */
  signOut(): Promise<void> {
    return this[CORE].signOut()
  }

  isConnected(): boolean {
    return this[CORE].isOpen()
  }

  /** Sends the next token of the same user before the last one expires. With a token function this happens by itself. */
  authenticate(credentials: Credentials & { token: NonNullable<Credentials["token"]> }): Promise<void> {
    return this[CORE].authenticate(credentials)
  }

  onConnect(callback: () => void): Unsubscribe {
    return this[CORE].connected.add(callback)
  }

  /** `error` is `null` after `disconnect()`. */
  onDisconnect(callback: (error: LumenizeError | null) => void): Unsubscribe {
    return this[CORE].disconnected.add(callback)
  }

  onReconnect(callback: () => void): Unsubscribe {
    return this[CORE].reconnected.add(callback)
  }

  /** Errors that belong to no single call: the connection's and the subscriptions'. */
  onError(callback: (error: LumenizeError) => void): Unsubscribe {
    return this[CORE].failed.add(callback)
  }

  /** A write of this client conflicted with one that it had not seen. It was made anyway; `winner` is the value in force. */
  onConflict(callback: (conflicts: readonly Shown<Conflict>[], context: Shown<ConflictContext>) => void): Unsubscribe {
    return this[CORE].conflicts.add(callback)
  }

  /** The number of unconfirmed writes, and of documents with unsaved edits. */
  get pending(): number {
    return this[CORE].unsaved
  }

  onPending(callback: (count: number) => void): Unsubscribe {
    return this[CORE].pendingChanged.add(callback)
  }

  /**
   * Resolves once every write so far, and every edit of a document, is confirmed (or refused); rejects while the client
   * has stopped connecting.
   */
  saved(): Promise<void> {
    return this[CORE].saved()
  }

  /** Whether this client has unconfirmed writes to an entity. */
  isPending(collection: NameOf<never, C>, id: string): boolean {
    return this[CORE].requests.writes.isPending(collection, id)
  }

  /** A collection by name; `client.tasks` is the same as `client.collection("tasks")`. */
  collection<T extends Data = never, N extends NameOf<T, C> = NameOf<T, C>>(name: N): Collection<RowOf<T, N, C>> {
    let known = this.#collections.get(name)
    if (known === undefined) this.#collections.set(name, (known = new Collection(this[CORE], name)))
    return known as unknown as Collection<RowOf<T, N, C>>
  }

  /** Collects writes of different entities, all of which are made, or none. */
  transaction(): Transaction<C> {
    return new Transaction(this[CORE], (name) => this.collection<Data>(name))
  }

  /** Collects subscriptions to send in one message. */
  createSubscriptionBatch(): SubscriptionBatch<C> {
    return new SubscriptionBatch(this)
  }

  /** Reads the declared collections: their JSON Schema, content and version. `schema` caches them. */
  async refreshSchema(): Promise<Data> {
    return structuredClone((this.#schema = frozen(await this[CORE].ask<Data>({ type: "schema" }, "read"))))
  }

  /** The last result of `refreshSchema`, frozen. */
  get schema(): Data | null {
    return this.#schema
  }
}

// eslint-disable-next-line @typescript-eslint/no-explicit-any
export class SubscriptionBatch<C = any> {
  private readonly added: Subscription[] = []

  constructor(private readonly client: Client) {}

  /** Adds a subscription to a query, to one id, or to `*` of a collection. */
  add<T extends Data = never, N extends NameOf<T, C> = NameOf<T, C>>(
    collection: N,
    target: string,
    callback: (event: Shown<EntityEvent<RowOf<T, N, C>>>) => void,
    options?: SubscribeOptions<RowOf<T, N, C>>,
  ): this
  add<
    T extends Data = never,
    N extends NameOf<T, C> = NameOf<T, C>,
    F extends Field<RowOf<T, N, C>> = Field<RowOf<T, N, C>>,
    I extends IncludeOf<RowOf<T, N, C>> = Nothing,
  >(
    collection: N,
    query: NoInfer<QueryWithCondition<RowOf<T, N, C>>> & Including<RowOf<T, N, C>, I>,
    callback: (rows: Shown<RowWith<RowOf<T, N, C>, F, I>>[]) => void,
    options?: SubscribeOptions<RowOf<T, N, C>, F>,
  ): this
  add(
    collection: string,
    target: string | QueryWithCondition,
    // eslint-disable-next-line @typescript-eslint/no-explicit-any
    callback: (told: any) => void,
    options?: SubscribeOptions,
  ): this {
    this.added.push(this.client.collection<Data>(collection).subscription(target, callback, options))
    return this
  }

  /** Subscribes. Resolves with a function that ends them all, once all are in force; if one is refused, ends all and rejects. */
  async execute(): Promise<Unsubscribe> {
    const active = this.added.splice(0).map((subscription) => this.client[CORE].subscriptions.add(subscription))
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

/** Names that every object has, or that frameworks look up in every object. */
type Taken = keyof Client | keyof object | "constructor" | "hasOwnProperty" | "isPrototypeOf" | "propertyIsEnumerable" | "toLocaleString" | "toString" | "valueOf" | "then" | "toJSON" | `__${string}` | `$$${string}`

type Collections<C> = { readonly [Name in Exclude<keyof C, Taken>]: C[Name] extends Data ? Collection<C[Name]> : never }

/** A client whose collections are members: `client.tasks`. `C` maps their names to the types of their fields. */
export type LumenizeClient<C = Registered> = Client<C> & Collections<C>

/** Creates a {@link LumenizeClient}. All members other than its own are collections. */
export const LumenizeClient = /* @__PURE__ */ Object.assign(function (options?: ClientOptions): Client {
  return new Proxy(new Client(options), {
    get(client, name) {
      // names that frameworks and consoles look up in every object are not collections
      if (typeof name !== "string" || name in client || /^(then|toJSON|\$\$.*|__.*)$/.test(name)) {
        const value: unknown = Reflect.get(client, name, client)
        return typeof value === "function" ? (value as () => unknown).bind(client) : value
      }
      return client.collection(name)
    },
  })
}, { prototype: Client.prototype }) as unknown as {
  readonly prototype: Client
  new <C = Registered>(options?: ClientOptions): LumenizeClient<C>
}
