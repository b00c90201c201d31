/**
 * Writes that are not known to be committed yet: their order, and what the world looks like with them.
 * The twin of `collab/client/writes.py`.
 *
 * They leave in the order in which they were made. One that meets an earlier, unanswered write to the same entity waits
 * for its answer: what that one makes of the entity's version is what this one has seen. A broken connection sends them
 * back into the queue; they are sent again under the same `request` name, so they have effect once.
 */
import type { Op } from "./overlay.js"
import type { Request, Written } from "./protocol.js"

export type WriteRequest = Extract<Request, { request?: string }> & { entity: string }

interface Waiting {
  id: number
  request: WriteRequest
  key: string
}

const MOST_IN_FLIGHT = 64
/** How long a committed write is shown to a live query that has not been told of it: it may leave no trace there. */
const SETTLE = 2000

export class Writes {
  private readonly unanswered = new Map<number, Waiting>()
  private readonly inFlight = new Map<string, number>()
  private readonly shown = new Map<number, Op>()

  /** `changed` is told of collections whose rows may look different. */
  constructor(private readonly changed: (collection: string) => void) {}

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
    this.changed(op.collection)
  }

  /** What may be sent now, in order; it counts as sent. */
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

  /** A write has had its effect, or (`null`) was refused and has none. */
  answered(id: number, written: Written | null): void {
    const { key } = this.unanswered.get(id) as Waiting
    this.unanswered.delete(id)
    if (this.inFlight.get(key) === id) this.inFlight.delete(key)
    const op = this.shown.get(id)
    if (written === null) this.shown.delete(id)
    else {
      this.haveSeen(key, written.version)
      if (op !== undefined) {
        // a created row is what the server made of it
        const values = op.kind === "create" ? written.data : op.values
        this.shown.set(id, { ...op, values, version: written.version })
        const timer: unknown = setTimeout(() => {
          this.shown.delete(id)
          this.changed(op.collection)
        }, SETTLE)
        ;(timer as { unref?: () => void }).unref?.() // Node need not live for it
      }
    }
    if (op !== undefined) this.changed(op.collection)
  }

  /** A write could not be taken in now; it goes back to its place in the queue. */
  again(id: number): void {
    this.inFlight.delete((this.unanswered.get(id) as Waiting).key)
  }

  /** What was sent and not answered will be sent again, in order, before all that waits. */
  lost(): void {
    this.inFlight.clear()
  }

  /** What lies over the rows of a collection, in order. */
  ops(collection: string): Op[] {
    return [...this.shown.values()].filter((op) => op.collection === collection)
  }

  /** Whether something written to an entity is not confirmed. */
  isPending(collection: string, id: string): boolean {
    const key = keyOf(collection, id)
    return [...this.unanswered.values()].some((write) => write.key === key)
  }

  /** Whether a write to an entity was made before request `id`, and is not answered. */
  isBefore(id: number, collection: string, entity: string): boolean {
    const key = keyOf(collection, entity)
    return [...this.unanswered.values()].some((write) => write.key === key && write.id < id)
  }

  private haveSeen(key: string, version: number): void {
    // Our own write came before: another session of ours may send the next one, and the server would take the first
    // for somebody else's.
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
