/** Everything that is subscribed to, on whatever connection. */
import { LumenizeError } from "./errors.js"
import { guarded } from "./listeners.js"
import { withPending, type PendingWrite } from "./match.js"
import type { Request, ServerMessage, Subscribed, Target, WirePerson } from "./protocol.js"
import { applySteps } from "./rows.js"
import type { Data, EntityEvent, Person, Query, SubscribeOptions, Unsubscribe } from "./types.js"

type Told = Extract<ServerMessage, { type: "event" | "rows" | "diff" | "custom" | "system" | "metric" | "presence" }>

/** One subscription: what it is about, and what to do with what is told of it. */
export abstract class Subscription {
  sub = 0
  constructor(
    readonly target: Target,
    readonly options: SubscribeOptions,
  ) {}

  abstract tell(message: Told): void

  /** The connection has ended; what is known is of the past. */
  interrupted(): void {}

  protected deliver(call: () => unknown): void {
    if (this.options.condition?.() ?? true) guarded(call)
  }
}

export class EntitySubscription extends Subscription {
  constructor(
    target: Target & { kind: "entities" },
    options: SubscribeOptions,
    private readonly callback: (event: EntityEvent) => void,
  ) {
    super(target, options)
  }

  tell(message: Told): void {
    if (message.type !== "event") return
    ;(this.target as { cursor?: string }).cursor = message.cursor
    const { event, permissions } = message
    this.deliver(() => this.callback(permissions === undefined ? event : { ...event, permissions }))
  }
}

/** A live query: keeps the rows that the server tells, and shows them with what this client has written meanwhile. */
export class RowsSubscription extends Subscription {
  private rows: readonly Data[] = []
  private known = false
  private shown: readonly Data[] | null = null

  constructor(
    target: Target & { kind: "rows" },
    options: SubscribeOptions,
    readonly query: Query,
    private readonly pending: (collection: string) => readonly PendingWrite[],
    private readonly seen: (collection: string, id: string, version: number) => void,
    private readonly callback: (rows: Data[]) => void,
  ) {
    super(target, options)
  }

  get collection(): string {
    return (this.target as { collection: string }).collection
  }

  tell(message: Told): void {
    if (message.type === "rows") {
      message.rows.forEach((row, index) => this.seen(this.collection, row["id"], message.versions[index] ?? 0))
      this.rows = message.permissions
        ? message.rows.map((row, index) => ({ ...row, permissions: message.permissions?.[index] }))
        : message.rows
    } else if (message.type === "diff") {
      for (const step of message.steps) {
        if (step.version !== undefined) this.seen(this.collection, step.id, step.version)
      }
      this.rows = applySteps(this.rows, message.steps)
    } else return
    this.known = true
    this.show()
  }

  /** Show what there is now, if it is not what was shown last. */
  show(): void {
    if (!this.known) return
    const rows = withPending(this.rows, this.query, this.pending(this.collection))
    const shown = this.shown
    if (shown !== null && rows.length === shown.length && rows.every((row, index) => same(row, shown[index]))) return
    this.deliver(() => {
      this.shown = rows
      this.callback([...rows])
    })
  }
}

function same(one: Data, other: Data | undefined): boolean {
  return one === other || JSON.stringify(one) === JSON.stringify(other)
}

/** Custom and system events, and metrics. */
export class NoticeSubscription extends Subscription {
  constructor(
    target: Target & { kind: "custom" | "system" | "analytics" },
    options: SubscribeOptions,
    private readonly callback: (what: never) => void,
  ) {
    super(target, options)
  }

  tell(message: Told): void {
    if (message.type === "custom") (this.target as { cursor?: string }).cursor = message.cursor
    if (message.type === "metric") this.deliver(() => this.callback(message.value as never))
    else if (message.type === "custom" || message.type === "system") {
      this.deliver(() => this.callback(message.event as never))
    }
  }
}

export class PresenceSubscription extends Subscription {
  private people = new Map<string, Person>()

  constructor(
    target: Target & { kind: "presence" },
    options: SubscribeOptions,
    private readonly callback: (people: Person[], count: number) => void,
  ) {
    super(target, options)
  }

  tell(message: Told): void {
    if (message.type !== "presence") return
    const next = message.complete ? new Map<string, Person>() : new Map(this.people)
    for (const key of message.left ?? []) next.delete(key)
    for (const person of message.people) next.set(person.key, readPerson(person))
    this.people = next
    this.deliver(() => this.callback([...next.values()], message.count))
  }
}

function readPerson({ key, userId, name, state, states }: WirePerson): Person {
  return { ...state, key, userId: userId ?? null, name: name ?? null, states: states ?? [] }
}

export class Subscriptions {
  private next = 1
  private readonly active = new Map<number, Subscription>()
  private readonly confirmed = new Set<number>()
  private flushing = false
  private waiting: { subscription: Subscription; resolve: () => void; reject: (error: LumenizeError) => void }[] = []

  constructor(
    private readonly ask: (request: Request) => Promise<unknown>,
    private readonly isOpen: () => boolean,
    private readonly failed: (error: LumenizeError) => void,
  ) {}

  get size(): number {
    return this.active.size
  }

  rowsOf(collection: string): RowsSubscription[] {
    return [...this.active.values()].filter(
      (each): each is RowsSubscription => each instanceof RowsSubscription && each.collection === collection,
    )
  }

  /** Begin; what is added in one turn of the event loop travels in one message. */
  add(subscription: Subscription): { unsubscribe: Unsubscribe; ready: Promise<void> } {
    subscription.sub = this.next++
    this.active.set(subscription.sub, subscription)
    const ready = new Promise<void>((resolve, reject) => this.waiting.push({ subscription, resolve, reject }))
    ready.catch(() => {}) // told to onError already
    this.flushSoon()
    return { unsubscribe: () => this.remove(subscription.sub), ready }
  }

  private remove(sub: number): void {
    if (!this.active.delete(sub)) return
    if (this.confirmed.delete(sub) && this.isOpen()) this.ask({ type: "unsubscribe", subs: [sub] }).catch(() => {})
  }

  tell(message: Told): void {
    const subs = "sub" in message ? [message.sub] : message.subs
    for (const sub of subs) this.active.get(sub)?.tell(message)
  }

  /** The server has ended a subscription. */
  ended(sub: number, error: LumenizeError): void {
    const subscription = this.active.get(sub)
    this.confirmed.delete(sub)
    if (subscription !== undefined && this.active.delete(sub)) this.fail(subscription, error)
  }

  /** A session has begun: subscribe to everything anew. */
  resume(): void {
    this.confirmed.clear()
    void this.subscribe([...this.active.values()])
  }

  interrupted(): void {
    this.confirmed.clear()
    for (const subscription of this.active.values()) subscription.interrupted()
  }

  private flushSoon(): void {
    if (this.flushing) return
    this.flushing = true
    queueMicrotask(() => {
      this.flushing = false
      if (!this.isOpen()) return
      void this.subscribe(
        this.waiting.map(({ subscription }) => subscription).filter(({ sub }) => !this.confirmed.has(sub)),
      )
    })
  }

  private async subscribe(subscriptions: Subscription[]): Promise<void> {
    const wanted = subscriptions.filter(({ sub }) => this.active.has(sub))
    if (wanted.length === 0) return
    for (const { sub } of wanted) this.confirmed.add(sub)
    let results: Subscribed[]
    try {
      results = (await this.ask({
        type: "subscribe",
        subscriptions: wanted.map(({ sub, target }) => ({ sub, target })),
      })) as Subscribed[]
    } catch (error) {
      const reason = error as LumenizeError
      if (reason.code === "CONNECTION_LOST") return // the next session subscribes anew
      for (const subscription of wanted) {
        if (this.active.delete(subscription.sub)) this.fail(subscription, reason)
        this.settle(subscription, reason)
      }
      return
    }
    for (const { sub, cursor, recovered, error } of results) {
      const subscription = wanted.find((each) => each.sub === sub)
      if (subscription === undefined) continue
      if (error !== undefined) {
        const reason = LumenizeError.of(error)
        this.confirmed.delete(sub)
        if (this.active.delete(sub)) this.fail(subscription, reason)
        this.settle(subscription, reason)
        continue
      }
      const target = subscription.target as { cursor?: string }
      const resumed = target.cursor !== undefined
      if (cursor !== undefined && (!resumed || recovered === false)) target.cursor = cursor
      if (resumed) guarded(() => subscription.options.onResume?.(recovered ?? true))
      this.settle(subscription, null)
    }
  }

  private fail(subscription: Subscription, error: LumenizeError): void {
    guarded(() => subscription.options.onError?.(error))
    this.failed(
      new LumenizeError("SUBSCRIPTION_FAILED", error.message, { code: error.code, target: subscription.target, ...error.details }),
    )
  }

  private settle(subscription: Subscription, error: LumenizeError | null): void {
    this.waiting = this.waiting.filter((each) => {
      if (each.subscription !== subscription) return true
      if (error === null) each.resolve()
      else each.reject(error)
      return false
    })
  }
}
