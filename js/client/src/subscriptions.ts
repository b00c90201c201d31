/** Everything that is subscribed to, on whatever connection. */
import { LumenizeError } from "./errors.js"
import { guarded } from "./listeners.js"
import type { Request, Subscribed } from "./protocol.js"
import { RowsSubscription, type Subscription, type Told } from "./subscription.js"
import type { Subscribed as Handle } from "./types.js"

const MOST_IN_ONE_MESSAGE = 256
/** Milliseconds after which a subscription that failed for now is asked for again. */
const RETRY = 1000

interface Active {
  subscription: Subscription
  /** Whether it was asked for on this connection. */
  asked: boolean
  /** Whether it was in force once. */
  confirmed: boolean
  /** Whether it failed for now, and that was told. */
  delayed: boolean
  settle: (error: LumenizeError | null) => void
}

export class Subscriptions {
  private next = 1
  private readonly active = new Map<number, Active>()
  private cancelled: number[] = []
  private flushing = false
  private retry: ReturnType<typeof setTimeout> | undefined

  constructor(
    private readonly ask: (request: Request) => Promise<unknown>,
    private readonly isOpen: () => boolean,
    private readonly failed: (error: LumenizeError) => void,
  ) {}

  get size(): number {
    return this.active.size
  }

  rowsOf(collection: string): RowsSubscription[] {
    return [...this.active.values()]
      .map(({ subscription }) => subscription)
      .filter((each): each is RowsSubscription => each instanceof RowsSubscription && each.collection === collection)
  }

  /** Begin; what is added in one turn of the event loop travels in one message. */
  add(subscription: Subscription): Handle {
    const sub = (subscription.sub = this.next++)
    const ready = new Promise<void>((resolve, reject) => {
      const settle = (error: LumenizeError | null): void => (error === null ? resolve() : reject(error))
      this.active.set(sub, { subscription, asked: false, confirmed: false, delayed: false, settle })
    })
    ready.catch(() => {}) // told to onError already
    this.flushSoon()
    return Object.assign(() => this.remove(subscription.sub), { ready })
  }

  private remove(sub: number): void {
    const active = this.active.get(sub)
    this.active.delete(sub)
    active?.settle(null)
    if (active?.asked) this.cancel(sub)
  }

  /** What is given up in one turn of the event loop travels in one message too. */
  private cancel(sub: number): void {
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

  private flushSoon(): void {
    if (this.flushing) return
    this.flushing = true
    queueMicrotask(() => {
      this.flushing = false
      this.flush()
    })
  }

  /** Ask for everything that is not asked for on this connection, which after a cut is all there is. */
  flush(): void {
    if (!this.isOpen()) return
    const cancelled = this.cancelled.splice(0)
    if (cancelled.length > 0) this.ask({ type: "unsubscribe", subs: cancelled }).catch(() => {})
    const wanted = [...this.active.values()].filter(({ asked, delayed }) => !asked && !(delayed && this.retry))
    // custom events are taken up again by the channels of then, which subscriptions to entities are part of
    wanted.sort((a, b) => Number(a.subscription.target.kind === "custom") - Number(b.subscription.target.kind === "custom"))
    while (wanted.length > 0) void this.subscribe(wanted.splice(0, MOST_IN_ONE_MESSAGE))
  }

  private async subscribe(wanted: Active[]): Promise<void> {
    for (const active of wanted) active.asked = true
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
      if (reason.code === "CONNECTION_LOST") return // the next session subscribes anew
      for (const active of wanted) this.refused(active, reason)
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
    if (confirmed) guarded(() => subscription.options.onResume?.(recovered))
    active.settle(null)
  }

  /** What is known of a live query does not fit what is told of it. */
  private again(active: Active): void {
    const { subscription } = active
    this.cancelled.push(subscription.sub)
    this.active.delete(subscription.sub)
    subscription.sub = this.next++ // what is on its way under the old number is not meant for it any more
    active.asked = false
    this.active.set(subscription.sub, active)
    this.flush()
  }

  /** Not in force, or not any more: for good, or (as with limits) until it is asked for again. */
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
    if (onError) return guarded(() => onError(error))
    if (error.code === "SUBSCRIPTION_FAILED" || error.code === "RATE_LIMIT_EXCEEDED") return this.failed(error)
    const details = { ...error.details, cause: error.code, target: subscription.target }
    this.failed(new LumenizeError("SUBSCRIPTION_FAILED", error.message, details))
  }
}
