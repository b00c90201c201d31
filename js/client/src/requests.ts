/** What was asked and is not answered yet: kept over reconnects, so that a write is neither lost nor made twice. */
import { connectionLost, LumenizeError } from "./errors.js"
import type { Op } from "./overlay.js"
import type { Request, Written } from "./protocol.js"
import { plain } from "./values.js"
import { Writes, type WriteRequest } from "./writes.js"

/** A `read` is asked again after a reconnect; what is about this connection (`session`) is not. */
export type Kind = "read" | "session"

interface Answer {
  resolve(result: unknown): void
  reject(error: LumenizeError): void
  timer?: ReturnType<typeof setTimeout>
}

export interface RequestEvents {
  isOpen(): boolean
  /** Sends, or returns why not. */
  send(message: Request & { id: number }): LumenizeError | null
  /** There are more, or fewer, writes that are not confirmed. */
  pending(): void
  /** Rows of a collection look different because of own writes. */
  shown(collection: string): void
  /** An error that no request fails with. */
  failed(error: LumenizeError): void
}

const PAUSE = 1
const MOST_PAUSE = 60

export class Requests {
  readonly writes = new Writes((collection) => this.events.shown(collection))
  private next = 1
  private readonly answers = new Map<number, Answer>()
  private readonly asked = new Map<number, { request: Request; kind: Kind; sent: boolean }>()
  private pause: ReturnType<typeof setTimeout> | undefined
  private over: LumenizeError | null = null

  constructor(
    private readonly events: RequestEvents,
    private readonly maxWrites: number,
    /** Milliseconds that the answer to anything but a write may take, time without a connection included. */
    private readonly timeout: number,
  ) {}

  async ask<T>(request: Request, kind: Kind): Promise<T> {
    if (kind === "session" && !this.events.isOpen()) throw connectionLost("there is no connection")
    if (this.over !== null) throw this.over
    const said = plain(request)
    return this.answer<T>((id) => {
      this.asked.set(id, { request: said, kind, sent: kind === "session" })
      // subscriptions are asked for until they are in force, whatever the time
      if (said.type !== "subscribe") this.limit(id)
      // at once, and nothing else with it: a session begins with what it is to hear
      if (kind === "session") this.send(id, said)
      else this.flush()
    })
  }

  /** A write: sent when its turn has come, and again until it is answered. `op` is what it does to rows, as far as known. */
  write(request: WriteRequest, op?: Op): Promise<Written> {
    if (this.writes.size >= this.maxWrites) {
      const limit = this.maxWrites
      return Promise.reject(
        new LumenizeError("RATE_LIMIT_EXCEEDED", `${limit} writes wait to be saved already`, { limit }, true),
      )
    }
    const answer = this.answer<Written>((id) => {
      this.writes.add(id, request, op)
      this.flush()
    })
    this.events.pending()
    return answer
  }

  private answer<T>(begin: (id: number) => void): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const id = this.next++
      this.answers.set(id, { resolve: resolve as (result: unknown) => void, reject })
      begin(id)
    })
  }

  private limit(id: number): void {
    const answer = this.answers.get(id) as Answer
    answer.timer = setTimeout(() => {
      this.take(id)?.reject(connectionLost(`no answer within ${this.timeout} ms`))
    }, this.timeout)
  }

  answered(id: number, result: unknown): void {
    this.done(id, result as Written)
    this.take(id)?.resolve(result)
    this.flush()
  }

  refused(id: number, error: LumenizeError): void {
    if (this.writes.has(id) && (error.code === "RATE_LIMIT_EXCEEDED" || error.code === "UNAVAILABLE")) {
      this.writes.again(id)
      if (this.pause !== undefined) return
      if (error.code === "RATE_LIMIT_EXCEEDED") this.events.failed(error)
      const after = error.details["retryAfter"]
      const seconds = typeof after === "number" && after > 0 && after < MOST_PAUSE ? after : PAUSE
      this.pause = setTimeout(() => {
        this.pause = undefined
        this.flush()
      }, seconds * 1000)
      return
    }
    this.done(id, null)
    this.take(id)?.reject(error)
    this.flush()
  }

  /** Send what is to be sent: what was asked first, then writes. */
  flush(): void {
    if (!this.events.isOpen()) return
    for (const [id, asked] of this.asked) {
      if (asked.sent || this.isEarly(id, asked.request)) continue
      asked.sent = true
      this.send(id, asked.request)
    }
    if (this.pause !== undefined) return
    for (const { id, request } of this.writes.ready()) this.send(id, request)
  }

  /** Who reads an entity is to see what they have written to it. */
  private isEarly(id: number, request: Request): boolean {
    const { type } = request
    return (type === "findById" || type === "history") && this.writes.isBefore(id, request.collection, request.entity)
  }

  private send(id: number, request: Request): void {
    const refusal = this.events.send({ ...request, id })
    if (refusal !== null) queueMicrotask(() => this.refused(id, refusal))
  }

  /** Somebody looks for a connection (again). */
  begin(): void {
    this.over = null
  }

  /** A connection is gone. Reads and writes wait for the next one. */
  lost(error: LumenizeError): void {
    clearTimeout(this.pause)
    this.pause = undefined
    this.writes.lost()
    for (const [id, asked] of [...this.asked]) {
      asked.sent = false
      if (asked.kind === "session") this.take(id)?.reject(error)
    }
  }

  /** Nobody looks for a connection any more. Only writes wait for one all the same. */
  stopped(error: LumenizeError): void {
    this.lost(error)
    this.over = error
    for (const id of [...this.asked.keys()]) this.take(id)?.reject(error)
  }

  /** Give up every write: they are not the next user's. */
  forgetWrites(error: LumenizeError): void {
    for (const id of this.writes.ids()) {
      this.done(id, null)
      this.take(id)?.reject(error)
    }
  }

  private done(id: number, written: Written | null): void {
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
