/** What was asked and is not answered yet: kept over reconnects, so that a write is neither lost nor made twice. */
import { connectionLost, LumenizeError } from "./errors.js"
import type { Request } from "./protocol.js"

/** `write` and `read` are asked again after a reconnect; what is about this connection (`session`) is not. */
export type Kind = "write" | "read" | "session"

interface Asked {
  id: number
  request: Request
  kind: Kind
  resolve(result: unknown): void
  reject(error: LumenizeError): void
}

export class Requests {
  private next = 1
  private readonly asked = new Map<number, Asked>()

  constructor(
    private readonly send: (message: Request & { id: number }) => void,
    private readonly isOpen: () => boolean,
    private readonly maxWrites: number,
    private readonly changed: () => void,
  ) {}

  /** How many writes are not confirmed. */
  get writes(): number {
    let count = 0
    for (const { kind } of this.asked.values()) if (kind === "write") count += 1
    return count
  }

  ask<T>(request: Request, kind: Kind): Promise<T> {
    if (kind === "session" && !this.isOpen()) return Promise.reject(connectionLost("there is no connection"))
    if (kind === "write" && this.writes >= this.maxWrites) {
      return Promise.reject(
        new LumenizeError("RATE_LIMIT_EXCEEDED", "too many writes wait for a connection", { limit: this.maxWrites }, true),
      )
    }
    return new Promise<T>((resolve, reject) => {
      const id = this.next++
      this.asked.set(id, { id, request, kind, resolve: resolve as (result: unknown) => void, reject })
      if (this.isOpen()) this.send({ ...request, id })
      if (kind === "write") this.changed()
    })
  }

  answered(id: number, result: unknown): void {
    this.take(id)?.resolve(result)
  }

  refused(id: number, error: LumenizeError): void {
    this.take(id)?.reject(error)
  }

  /** A session has begun: ask again what is open, in the order in which it was asked. */
  resume(): void {
    for (const { id, request } of this.asked.values()) this.send({ ...request, id })
  }

  /** The connection is gone; `forGood` if no other is on its way. Writes wait for the next one all the same. */
  lost(error: LumenizeError, forGood: boolean): void {
    for (const { id, kind } of [...this.asked.values()]) {
      if (kind === "session" || (kind === "read" && forGood)) this.take(id)?.reject(error)
    }
  }

  private take(id: number): Asked | undefined {
    const asked = this.asked.get(id)
    this.asked.delete(id)
    if (asked?.kind === "write") queueMicrotask(this.changed)
    return asked
  }
}
