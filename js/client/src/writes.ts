/**
 * Unconfirmed writes: their order, and their effect on rows.
 * The twin of `collab/client/core/writes.py`.
 *
 * They are sent in order. A write waits for the answer to an earlier write to the same entity, because it is based on the
 * version which that one creates. When the connection breaks, they return to the queue and are sent again under the same
 * `request` name, so they take effect once.
 *
 * A write stays applied to the rows of its collection (`overlay.ts`) until each list there includes it. No timer removes
 * it: time only decides when a list that shows it requests its rows again.
 */
import type { Op } from "./overlay.js"
import type { Request, Written } from "./protocol.js"

/** A request that writes: one entity, or several. */
export type WriteRequest =
  | (Extract<Request, { type: "create" | "update" | "delete" | "restore" }> & { entity: string })
  | Extract<Request, { type: "writeMany" | "transaction" }>

/** The server remembers the name of a write for a day; an hour of it is for its way, and for servers whose clocks differ. */
const REMEMBERED = 23 * 3_600_000

interface Waiting {
  id: number
  request: WriteRequest
  /** When it was first sent, by the server's clock, in milliseconds since the epoch; or `null`. */
  sent: number | null
  /** The entity of each write. */
  keys: readonly string[]
}

const MOST_IN_FLIGHT = 64
/** Milliseconds after which a list that does not include a committed write yet is read again. */
const LATE = 2000
/** Committed writes kept for lists that do not include them yet: a write may leave no trace in a list. */
const MOST_KEPT = 1000

export interface WriteEvents {
  /** Own writes have changed the rows of a collection. */
  shown(collection: string): void
  /** Whether all lists include a committed write. */
  isTold(op: Op): boolean
}

/** A write, the id of its request, and when it was first sent. */
export interface NumberedRequest {
  id: number
  request: WriteRequest
  sent: number
}

export class Writes {
  /** @internal In the order in which they are sent. */
  readonly unanswered = new Map<number, Waiting>()
  /** The request that is under way, by entity. */
  private readonly inFlight = new Map<string, number>()
  private readonly sent = new Set<number>()
  /** @internal By request and number of the write in it. */
  readonly shown = new Map<string, Op>()
  private readonly late = new WeakSet<Op>()
  /** The number of own writes known to be committed. */
  commits = 0

  constructor(private readonly events: WriteEvents) {}

  /** The number of writes. */
  get size(): number {
    let size = 0
    for (const { keys } of this.unanswered.values()) size += keys.length
    return size
  }

  has(id: number): boolean {
    return this.unanswered.has(id)
  }

  ids(): number[] {
    return [...this.unanswered.keys()]
  }

  /** `ops` are the effects of its writes, as far as known. */
  add(id: number, request: WriteRequest, ops: readonly (Op | undefined)[], sent: number | null = null): void {
    this.unanswered.set(id, { id, request, sent, keys: writesIn(request).map(({ collection, entity }) => keyOf(collection, entity)) })
    ops.forEach((op, index) => op && this.shown.set(`${id}/${index}`, op))
    this.tell(ops)
  }

  /** The requests that may be sent now, in order; they count as sent. `now` is the server's time. */
  ready(now: number): NumberedRequest[] {
    const ready = []
    const blocked = new Set<string>()
    for (const waiting of this.unanswered.values()) {
      const { id, keys, request } = waiting
      if (this.sent.size >= MOST_IN_FLIGHT) break
      if (this.sent.has(id)) continue
      if (keys.some((key) => this.inFlight.has(key) || blocked.has(key))) {
        for (const key of keys) blocked.add(key) // later writes to these wait, too
        continue
      }
      this.sent.add(id)
      for (const key of keys) this.inFlight.set(key, id)
      ready.push({ id, request, sent: (waiting.sent ??= now) })
    }
    return ready
  }

  /** A request was answered: what each write has written, or `null` if it was refused. All were, without `written`. */
  answered(id: number, written: readonly (Written | null)[] = []): void {
    const { keys } = this.unanswered.get(id) as Waiting
    this.land(id, keys)
    this.unanswered.delete(id)
    const ops = keys.map((key, index) => {
      const name = `${id}/${index}`
      const one = written[index] ?? null
      const op = this.shown.get(name)
      if (one === null) this.shown.delete(name)
      else {
        this.haveSeen(key, one.version)
        if (op !== undefined) this.commit(name, op, one)
      }
      return op
    })
    for (const collection of this.tell(ops)) this.told(collection)
  }

  /** Shows the writes in their collections, which it returns. */
  private tell(ops: readonly (Op | undefined)[]): Set<string> {
    const collections = new Set<string>()
    for (const op of ops) if (op !== undefined) collections.add(op.collection)
    for (const collection of collections) this.events.shown(collection)
    return collections
  }

  private commit(name: string, op: Op, { data, version }: Written): void {
    const committed: Op = { ...op, values: op.kind === "delete" ? {} : structuredClone(data), version, commit: (this.commits += 1) }
    this.shown.set(name, committed)
    const timer: unknown = setTimeout(() => {
      this.late.add(committed)
      if (this.shown.get(name) === committed) this.events.shown(op.collection)
    }, LATE)
    ;(timer as { unref?: () => void }).unref?.() // does not keep Node running
  }

  /** Whether a list that shows this write should be read again. */
  isLate(op: Op): boolean {
    return this.late.has(op)
  }

  /** Drops the writes that every list includes. */
  told(collection: string): void {
    const committed = [...this.shown].filter(([, op]) => op.commit !== undefined)
    for (const [name, op] of committed) {
      if (op.collection === collection && this.events.isTold(op)) this.shown.delete(name)
    }
    for (const [name] of committed.slice(0, Math.max(0, committed.length - MOST_KEPT))) this.shown.delete(name)
  }

  /** A request was refused temporarily; it returns to its place in the queue. */
  again(id: number): void {
    this.land(id, (this.unanswered.get(id) as Waiting).keys)
  }

  private land(id: number, keys: readonly string[]): void {
    this.sent.delete(id)
    for (const key of keys) if (this.inFlight.get(key) === id) this.inFlight.delete(key)
  }

  /** Unanswered writes will be sent again, in order, before those that wait. */
  lost(): void {
    this.inFlight.clear()
    this.sent.clear()
  }

  /** The writes to apply to the rows of a collection, in order. */
  ops(collection: string): Op[] {
    return [...this.shown.values()].filter((op) => op.collection === collection)
  }

  /** Whether an entity has an unconfirmed write. */
  isPending(collection: string, id: string): boolean {
    const key = keyOf(collection, id)
    return [...this.unanswered.values()].some(({ keys }) => keys.includes(key))
  }

  /** Whether an entity has an unanswered write made before request `id`. */
  isBefore(id: number, collection: string, entity: string): boolean {
    const key = keyOf(collection, entity)
    return [...this.unanswered.values()].some((write) => write.id < id && write.keys.includes(key))
  }

  private haveSeen(key: string, version: number): void {
    // The next write is based on our own earlier one. If a new session sends it, the server would otherwise take the
    // earlier one for another client's.
    for (const write of this.unanswered.values()) {
      if (!write.keys.includes(key)) continue
      const based = <W extends { type: string }>(one: W, index: number): W =>
        one.type === "update" && write.keys[index] === key
          ? { ...one, version: Math.max(version, (one as { version?: number }).version ?? 0) }
          : one
      const { request } = write
      write.request = "writes" in request ? { ...request, writes: request.writes.map(based) } : based(request, 0)
    }
  }
}

/**
 * Whether sending a write could make it a second time: it was sent so long ago that the server may have forgotten whether
 * it was made. Both times are the server's.
 */
export const isForgotten = (sent: number, now: number): boolean => Math.abs(now - sent) > REMEMBERED

/** The writes of a request. */
export function writesIn(request: WriteRequest): readonly { collection: string; entity: string }[] {
  return "writes" in request ? request.writes : [request]
}

function keyOf(collection: string, id: string): string {
  return `${collection}/${id}`
}
