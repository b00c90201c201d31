/** All subscriptions of a client, across connections. */
import { LumenizeError, subscriptionFailed } from "./errors.js"
import type { Keeper } from "./keeper.js"
import { quiet, type Turn } from "./listeners.js"
import type { Request, Subscribed } from "./protocol.js"
import { RowsSubscription, type Subscription, type Told } from "./subscription.js"
import type { Over, Subscribed as Handle } from "./types.js"

const MOST_IN_ONE_MESSAGE = 256
/** Milliseconds until a temporarily refused subscription is sent again. */
const RETRY = 1000

interface Active {
  subscription: Subscription
  /** Whether it was sent on this connection. */
  asked: boolean
  /** Whether it was in force before. */
  confirmed: boolean
  /** Whether it was refused temporarily, and this was reported. */
  delayed: boolean
  settle: (error: LumenizeError | null) => void
}

/** The client, as its subscriptions see it. */
export interface SubscriptionsHost {
  readonly keeper: Keeper | null
  readonly turn: Turn
  /** Why the client has stopped connecting, or `null`. */
  readonly over: Over | null
  isOpen(): boolean
  /** Reports an error that no subscription takes. */
  fail(error: LumenizeError): void
}

export class Subscriptions {
  private next = 1
  /** @internal */
  readonly active = new Map<number, Active>()
  private cancelled: number[] = []
  private flushing = false
  private retry: ReturnType<typeof setTimeout> | undefined

  constructor(
    private readonly ask: (request: Request) => Promise<unknown>,
    private readonly host: SubscriptionsHost,
  ) {}

  get size(): number {
    return this.active.size
  }

  rowsOf(collection: string): RowsSubscription[] {
    return [...this.active.values()]
      .map(({ subscription }) => subscription)
      .filter((each): each is RowsSubscription => each instanceof RowsSubscription && each.collections.includes(collection))
  }

  /** Adds a subscription; those of one turn of the event loop are sent in one message. */
  add(subscription: Subscription): Handle {
    const sub = (subscription.sub = this.next++)
    subscription.turn = this.host.turn
    const ready = new Promise<void>((resolve, reject) => {
      const settle = (error: LumenizeError | null): void => (error === null ? resolve() : reject(error))
      const active = { subscription, asked: false, confirmed: false, delayed: false, settle }
      this.active.set(sub, active)
      if (this.host.over !== null) queueMicrotask(() => this.waitsInVain(active, this.host.over)) // once the application can end it
    })
    quiet(ready) // onError gets it too
    subscription.renew = () => this.renew(subscription.sub)
    subscription.fail = (error) => this.fail(subscription, error)
    this.host.keeper?.begun(subscription)
    this.flushSoon()
    return Object.assign(() => this.remove(subscription.sub), { ready })
  }

  private remove(sub: number): void {
    const active = this.active.get(sub)
    if (active === undefined) return
    this.active.delete(sub)
    active.subscription.ended = true
    active.settle(null)
    if (!active.asked) return
    this.cancelled.push(sub)
    this.flushSoon()
  }

  tell(message: Told): void {
    for (const sub of "sub" in message ? [message.sub] : message.subs) {
      const active = this.active.get(sub)
      if (active !== undefined && active.subscription.tell(message) === false) this.again(active)
    }
  }

  /** The server has ended a subscription. */
  ended(sub: number, error: LumenizeError): void {
    const active = this.active.get(sub)
    if (active !== undefined) this.refused(active, error)
  }

  /** The connection has ended. */
  interrupted(): void {
    clearTimeout(this.retry)
    this.retry = undefined
    this.cancelled = []
    for (const active of this.active.values()) active.asked = false
  }

  /** The client has stopped connecting. Subscriptions wait for the next `connect`; their `onError` gets the error. */
  stopped(): void {
    const { over } = this.host // the first that is told may connect again
    for (const active of [...this.active.values()]) this.waitsInVain(active, over)
  }

  private waitsInVain({ subscription, settle }: Active, over: Over | null): void {
    if (over === null) return
    settle(over.reason)
    const { onError } = subscription.options // without one, the client's onError has it already
    if (onError && !over.wanted) subscription.tellLater(() => onError(over.reason))
  }

  private flushSoon(): void {
    if (this.flushing) return
    this.flushing = true
    queueMicrotask(() => {
      this.flushing = false
      this.flush()
    })
  }

  /** Sends all subscriptions that were not sent on this connection: after a reconnect, all of them. */
  flush(): void {
    if (!this.host.isOpen()) return
    const cancelled = this.cancelled.splice(0)
    if (cancelled.length > 0) this.ask({ type: "unsubscribe", subs: cancelled }).catch(() => {})
    const wanted = [...this.active.values()].filter(({ asked, delayed }) => !asked && !(delayed && this.retry))
    // missed custom events depend on the channels joined at that time, which include those of entity subscriptions
    wanted.sort((a, b) => Number(a.subscription.target.kind === "custom") - Number(b.subscription.target.kind === "custom"))
    while (wanted.length > 0) void this.subscribe(wanted.splice(0, MOST_IN_ONE_MESSAGE))
  }

  private async subscribe(wanted: Active[]): Promise<void> {
    for (const active of wanted) {
      active.asked = true
      active.subscription.asking()
    }
    let results: Subscribed[]
    try {
      results = (await this.ask({
        type: "subscribe",
        subscriptions: wanted.map(({ subscription: { sub, target, cursor } }) => ({
          sub,
          target: cursor === undefined ? target : { ...target, cursor },
        })),
      })) as Subscribed[]
    } catch (error) {
      const reason = error as LumenizeError
      if (reason.code === "CONNECTION_LOST") return // the next session subscribes again
      // the fault of one, such as a target that is too large, is not that of all
      const isOne = wanted.length === 1 || reason.retryable
      for (const active of wanted) {
        if (isOne) this.refused(active, reason)
        else if (this.active.get(active.subscription.sub) === active) void this.subscribe([active])
      }
      return
    }
    for (const result of results) {
      const active = this.active.get(result.sub)
      if (active === undefined) continue
      if (result.error === undefined) this.inForce(active, result)
      else this.refused(active, LumenizeError.of(result.error))
    }
  }

  private inForce(active: Active, { cursor, recovered = true }: Subscribed): void {
    const { subscription, confirmed } = active
    const resumable = ["entities", "custom", "system"].includes(subscription.target.kind)
    if (resumable && (subscription.cursor === undefined || !recovered)) subscription.cursor = cursor
    if (!recovered) subscription.restarted()
    active.confirmed = true
    active.delayed = false
    if (confirmed) subscription.tellLater(() => subscription.options.onResume?.(recovered))
    active.settle(null)
  }

  private renew(sub: number): void {
    const active = this.active.get(sub)
    // otherwise the next connection sends it
    if (active?.asked) this.again(active)
  }

  /** Subscribes again: the known rows do not fit the server's steps. */
  private again(active: Active): void {
    const { subscription } = active
    this.cancelled.push(subscription.sub)
    this.active.delete(subscription.sub)
    subscription.sub = this.next++ // messages in transit under the old number are ignored
    active.asked = false
    this.active.set(subscription.sub, active)
    this.flush()
  }

  /** A subscription was refused or has ended: permanently, or (as with limits) until the next attempt. */
  private refused(active: Active, error: LumenizeError): void {
    const { subscription, delayed, settle } = active
    if (this.active.get(subscription.sub) !== active) return
    active.asked = false
    if (error.retryable) {
      const { cursor } = error.details
      if (typeof cursor === "string") subscription.cursor = cursor
      active.delayed = true
      this.retry ??= setTimeout(() => {
        this.retry = undefined
        this.flush()
      }, RETRY)
    } else this.active.delete(subscription.sub)
    if (!delayed || !error.retryable) this.fail(subscription, error)
    settle(error)
  }

  private fail(subscription: Subscription, error: LumenizeError): void {
    const { onError } = subscription.options
    if (onError) return subscription.tellLater(() => onError(error))
    this.host.fail(subscriptionFailed(error, { target: subscription.target }))
  }
}
