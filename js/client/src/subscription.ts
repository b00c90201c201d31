/** One subscription of each kind: what it is about, and what to do with what is told of it. */
import { guarded } from "./listeners.js"
import { lens, type Lens, type Op } from "./overlay.js"
import type { ServerMessage, Target, WirePerson } from "./protocol.js"
import { applySteps } from "./rows.js"
import type { Data, EntityEvent, Person, Query, SubscribeOptions } from "./types.js"

export type Told = Extract<ServerMessage, { type: "event" | "rows" | "diff" | "custom" | "system" | "metric" | "presence" }>

export abstract class Subscription {
  sub = 0
  /** Of the last event seen, to go on from there. */
  cursor: string | undefined

  constructor(
    readonly target: Target,
    readonly options: SubscribeOptions,
  ) {}

  /** Take in what the server tells. `false`: it does not fit what is known here, which must be read anew. */
  abstract tell(message: Told): boolean | void

  /** What was missed is not known: nothing that was seen counts any more. */
  restarted(): void {}

  protected deliver(call: () => unknown): void {
    guarded(() => ((this.options.condition?.() ?? true) ? call() : undefined))
  }
}

const MOST_SEEN = 10_000

export class EntitySubscription extends Subscription {
  private readonly seen = new Map<string, number>()

  constructor(
    target: Target & { kind: "entities" },
    options: SubscribeOptions,
    private readonly callback: (event: EntityEvent) => void,
  ) {
    super(target, options)
  }

  tell(message: Told): void {
    if (message.type !== "event") return
    this.cursor = message.cursor
    const { event, permissions } = message
    if ((this.seen.get(event.id) ?? 0) >= event.version) return // after a reconnect events may come once more
    this.seen.delete(event.id)
    this.seen.set(event.id, event.version)
    if (this.seen.size > MOST_SEEN) this.seen.delete(this.seen.keys().next().value as string)
    this.deliver(() => this.callback(permissions === undefined ? event : { ...event, permissions }))
  }

  override restarted(): void {
    this.seen.clear()
  }
}

/** A live query: keeps the rows that the server tells, and shows them with what this client has written meanwhile. */
export class RowsSubscription extends Subscription {
  private rows: readonly Data[] = []
  private versions = new Map<string, number>()
  private known = false
  private shown: readonly Data[] | null = null
  private readonly lens: Lens

  constructor(
    override readonly target: Target & { kind: "rows" },
    options: SubscribeOptions,
    query: Query,
    private readonly ops: (collection: string) => readonly Op[],
    private readonly seen: (collection: string, id: string, version: number) => void,
    private readonly callback: (rows: Data[]) => void,
  ) {
    super(target, options)
    this.lens = lens(query, options.fields)
  }

  get collection(): string {
    return this.target.collection
  }

  tell(message: Told): boolean | void {
    if (message.type === "rows") {
      const { rows, versions, permissions } = message
      this.rows = permissions ? rows.map((row, index) => ({ ...row, permissions: permissions[index] })) : rows
      this.versions = new Map()
      rows.forEach((row, index) => this.saw(row["id"], versions[index] ?? 0))
    } else if (message.type === "diff") {
      const rows = applySteps(this.rows, message.steps)
      if (rows === null) return false
      this.rows = rows
      for (const { op, id, version } of message.steps) {
        if (op === "leave") this.versions.delete(id)
        if (version !== undefined) this.saw(id, version, op !== "leave")
      }
    } else return
    this.known = true
    this.show()
  }

  /** Show what there is now, if it is not what was shown last. */
  show(): void {
    if (!this.known) return
    const rows = this.lens(this.rows, this.versions, this.ops(this.collection))
    const shown = this.shown
    if (shown !== null && rows.length === shown.length && rows.every((row, index) => same(row, shown[index]))) return
    this.deliver(() => {
      this.shown = rows
      this.callback([...rows])
    })
  }

  private saw(id: string, version: number, here = true): void {
    if (here) this.versions.set(id, version)
    this.seen(this.collection, id, version)
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
    if (message.type === "custom" || message.type === "system") this.cursor = message.cursor
    if (message.type === "metric") this.deliver(() => this.callback(message.value as never))
    else if ("event" in message) this.deliver(() => this.callback(message.event as never))
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
