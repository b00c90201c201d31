/** Unanswered requests, kept across reconnects, so that a write is neither lost nor made twice. */
import { connectionLost, LumenizeError } from "./errors.js"
import type { Keeper } from "./keeper.js"
import type { Op } from "./overlay.js"
import type { Request, WriteResult, Written } from "./protocol.js"
import { plain } from "./values.js"
import { isForgotten, Writes, type WriteEvents, type WriteRequest } from "./writes.js"

/**
 * A `read` waits for a connection, and is repeated after a reconnect. `now` requires a connection, and is repeated too.
 * `session` requests concern one connection, and are not repeated.
 */
export type Kind = "read" | "now" | "session"

interface Answer {
  resolve(result: unknown): void
  reject(error: LumenizeError): void
  timer: ReturnType<typeof setTimeout> | undefined
}

export interface RequestEvents extends WriteEvents {
  readonly keeper: Keeper | null
  isOpen(): boolean
  /** The server's time while the client is connected, in milliseconds since the epoch. */
  now(): number
  /** Sends, or returns the error. */
  send(message: Request & { id: number }): LumenizeError | null
  /** The number of unconfirmed writes has changed. */
  pending(): void
  /** An error that belongs to no request. */
  fail(error: LumenizeError): void
}

const PAUSE = 1
const MOST_PAUSE = 60

const FORGOTTEN = "it was sent more than a day ago, and its answer was lost: it may have been made, and is not sent again"

/** Whether a write that is refused with this code is to be sent again. */
const isForNow = (code: string): boolean => code === "RATE_LIMIT_EXCEEDED" || code === "UNAVAILABLE"

export class Requests {
  readonly writes: Writes
  private next = 1
  private readonly answers = new Map<number, Answer>()
  private readonly asked = new Map<number, { request: Request; kind: Kind; sent: boolean }>()
  private pause: ReturnType<typeof setTimeout> | undefined
  /** Why there will be no connection, or `null`. */
  over: LumenizeError | null = connectionLost("call connect() first")

  constructor(
    private readonly events: RequestEvents,
    private readonly maxWrites: number,
    /** Milliseconds for the answer to anything except a write, including time without a connection. */
    private readonly timeout: number,
  ) {
    this.writes = new Writes(events)
  }

  async ask<T>(request: Request, kind: Kind): Promise<T> {
    if (this.over !== null) throw this.over
    if (kind !== "read" && !this.events.isOpen()) throw connectionLost("there is no connection")
    const said = plain(request)
    // subscriptions have no timeout
    return this.answer<T>(said.type !== "subscribe", (id) => {
      this.asked.set(id, { request: said, kind, sent: kind === "session" })
      // send it at once and alone: a session begins with its subscriptions
      if (kind === "session") this.send(id, said)
      else this.flush()
    })
  }

  /** Queues a request that writes, and sends it until it is answered. `ops` are the effects of its writes on rows. */
  write<T>(request: WriteRequest, ops: readonly (Op | undefined)[]): Promise<T> {
    if (this.writes.size >= this.maxWrites) {
      const limit = this.maxWrites
      return Promise.reject(
        new LumenizeError("RATE_LIMIT_EXCEEDED", `${limit} writes are waiting already`, { limit }, true),
      )
    }
    return this.enqueue(request, ops)
  }

  /** The same, beyond the limit. `sent`: when an earlier page has sent it. */
  enqueue<T>(request: WriteRequest, ops: readonly (Op | undefined)[], sent: number | null = null): Promise<T> {
    const answer = this.answer<T>(false, (id) => {
      this.writes.add(id, request, ops, sent)
      this.flush()
    })
    this.events.pending()
    return answer
  }

  private answer<T>(isTimed: boolean, begin: (id: number) => void): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const id = this.next++
      const late = (): void => this.take(id)?.reject(connectionLost(`no answer within ${this.timeout} ms`))
      this.answers.set(id, {
        resolve: resolve as (result: unknown) => void,
        reject,
        timer: isTimed ? setTimeout(late, this.timeout) : undefined,
      })
      begin(id)
    })
  }

  answered(id: number, result: unknown): void {
    const results = (Array.isArray(result) ? result : [result]) as WriteResult[]
    if (this.writes.has(id)) {
      const error = results.find((one) => one?.error !== undefined && isForNow(one.error.code))?.error
      // what was written is answered again by its name
      if (error !== undefined) return this.later(id, LumenizeError.of(error))
    }
    this.take(id)?.resolve(result) // first: an unreadable result must not leave its promise open
    this.done(id, results.map((one) => (one?.error === undefined ? (one as Written) : null)))
    this.flush()
  }

  refused(id: number, error: LumenizeError): void {
    if (this.writes.has(id) && isForNow(error.code)) return this.later(id, error)
    this.done(id)
    this.take(id)?.reject(error)
    this.flush()
  }

  /** The server cannot make a write now: sends it again after a while. */
  private later(id: number, error: LumenizeError): void {
    this.writes.again(id)
    if (this.pause !== undefined) return
    if (error.code === "RATE_LIMIT_EXCEEDED") this.events.fail(error)
    const after = error.details["retryAfter"]
    const seconds = typeof after === "number" && after > 0 && after < MOST_PAUSE ? after : PAUSE
    this.pause = setTimeout(() => {
      this.pause = undefined
      this.flush()
    }, seconds * 1000)
  }

  /** Sends what can be sent: first requests, then writes. */
  flush(): void {
    if (!this.events.isOpen()) return
    for (const [id, asked] of this.asked) {
      if (asked.sent || this.isEarly(id, asked.request)) continue
      asked.sent = true
      this.send(id, asked.request)
    }
    if (this.pause !== undefined) return
    const now = this.events.now()
    const ready = this.writes.ready(now)
    const known = ready.filter(({ sent }) => !isForgotten(sent, now))
    const { keeper } = this.events
    if (keeper) keeper.send(known)
    else for (const { id, request } of known) this.send(id, request)
    for (const { id, sent } of ready) if (isForgotten(sent, now)) queueMicrotask(() => this.refused(id, connectionLost(FORGOTTEN)))
  }

  /** A read of an entity waits for earlier own writes to it. */
  private isEarly(id: number, request: Request): boolean {
    const { type } = request
    return (type === "findById" || type === "history") && this.writes.isBefore(id, request.collection, request.entity)
  }

  /** @internal */
  send(id: number, request: Request): void {
    const refusal = this.events.send({ ...request, id })
    if (refusal !== null) queueMicrotask(() => this.refused(id, refusal))
  }

  /** The connection was lost. Reads and writes wait for the next one. */
  lost(error: LumenizeError): void {
    clearTimeout(this.pause)
    this.pause = undefined
    this.writes.lost()
    for (const [id, asked] of [...this.asked]) {
      asked.sent = false
      if (asked.kind === "session") this.take(id)?.reject(error)
    }
  }

  /** The client has stopped connecting. Only writes continue to wait. */
  stopped(error: LumenizeError): void {
    this.lost(error)
    this.over = error
    for (const id of [...this.asked.keys()]) this.take(id)?.reject(error)
  }

  /** Rejects every write: they do not belong to the next user. */
  forgetWrites(error: LumenizeError): void {
    for (const id of this.writes.ids()) {
      this.done(id)
      this.take(id)?.reject(error)
    }
    this.writes.shown.clear() // also those that lists do not include yet
  }

  private done(id: number, written?: readonly (Written | null)[]): void {
    if (!this.writes.has(id)) return
    this.writes.answered(id, written)
    queueMicrotask(() => this.events.pending())
  }

  private take(id: number): Answer | undefined {
    const answer = this.answers.get(id)
    clearTimeout(answer?.timer)
    this.answers.delete(id)
    this.asked.delete(id)
    return answer
  }
}
