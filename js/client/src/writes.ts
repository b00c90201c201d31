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

export type WriteRequest = Extract<Request, { type: "create" | "update" | "delete" | "restore" }> & { entity: string }

interface Waiting {
  id: number
  request: WriteRequest
  key: string
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

export class Writes {
  private readonly unanswered = new Map<number, Waiting>()
  private readonly inFlight = new Map<string, number>()
  private readonly shown = new Map<number, Op>()
  private readonly late = new WeakSet<Op>()
  /** The number of own writes known to be committed. */
  commits = 0

  constructor(private readonly events: WriteEvents) {}

  get size(): number {
    return this.unanswered.size
  }

  has(id: number): boolean {
    return this.unanswered.has(id)
  }

  ids(): number[] {
    return [...this.unanswered.keys()]
  }

  add(id: number, request: WriteRequest, op: Op | undefined): void {
    this.unanswered.set(id, { id, request, key: keyOf(request.collection, request.entity) })
    if (op === undefined) return
    this.shown.set(id, op)
    this.events.shown(op.collection)
  }

  /** The writes that may be sent now, in order; they count as sent. */
  ready(): { id: number; request: WriteRequest }[] {
    const ready = []
    for (const write of this.unanswered.values()) {
      if (this.inFlight.size >= MOST_IN_FLIGHT) break
      if (this.inFlight.has(write.key)) continue
      this.inFlight.set(write.key, write.id)
      ready.push(write)
    }
    return ready
  }

  /** A write was committed, or (`null`) refused. */
  answered(id: number, written: Written | null): void {
    const { key } = this.unanswered.get(id) as Waiting
    this.unanswered.delete(id)
    if (this.inFlight.get(key) === id) this.inFlight.delete(key)
    const op = this.shown.get(id)
    if (written === null) this.shown.delete(id)
    else {
      this.haveSeen(key, written.version)
      if (op !== undefined) this.commit(id, op, written)
    }
    if (op === undefined) return
    this.events.shown(op.collection)
    this.told(op.collection)
  }

  private commit(id: number, op: Op, { data, version }: Written): void {
    const committed: Op = { ...op, values: op.kind === "delete" ? {} : structuredClone(data), version, commit: (this.commits += 1) }
    this.shown.set(id, committed)
    const timer: unknown = setTimeout(() => {
      this.late.add(committed)
      if (this.shown.get(id) === committed) this.events.shown(op.collection)
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
    for (const [id, op] of committed) {
      if (op.collection === collection && this.events.isTold(op)) this.shown.delete(id)
    }
    for (const [id] of committed.slice(0, Math.max(0, committed.length - MOST_KEPT))) this.shown.delete(id)
  }

  /** A write was refused temporarily; it returns to its place in the queue. */
  again(id: number): void {
    this.inFlight.delete((this.unanswered.get(id) as Waiting).key)
  }

  /** Unanswered writes will be sent again, in order, before those that wait. */
  lost(): void {
    this.inFlight.clear()
  }

  /** The writes to apply to the rows of a collection, in order. */
  ops(collection: string): Op[] {
    return [...this.shown.values()].filter((op) => op.collection === collection)
  }

  /** Whether an entity has an unconfirmed write. */
  isPending(collection: string, id: string): boolean {
    const key = keyOf(collection, id)
    return [...this.unanswered.values()].some((write) => write.key === key)
  }

  /** Whether an entity has an unanswered write made before request `id`. */
  isBefore(id: number, collection: string, entity: string): boolean {
    const key = keyOf(collection, entity)
    return [...this.unanswered.values()].some((write) => write.key === key && write.id < id)
  }

  private haveSeen(key: string, version: number): void {
    // The next write is based on our own earlier one. If a new session sends it, the server would otherwise take the
    // earlier one for another client's.
    for (const write of this.unanswered.values()) {
      const { request } = write
      if (write.key === key && request.type === "update") {
        write.request = { ...request, version: Math.max(version, request.version ?? 0) }
      }
    }
  }
}

function keyOf(collection: string, id: string): string {
  return `${collection}/${id}`
}
