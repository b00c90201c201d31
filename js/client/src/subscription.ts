/** The kinds of subscriptions: each handles the server's messages about it. */
import { loaded, type LumenizeError } from "./errors.js"
import { frozen } from "./frozen.js"
import { inTurn, watched } from "./listeners.js"
import type { IncludedRows } from "./included.js"
import { isNews, lens, type Lens, type Op, type OwnWrites } from "./overlay.js"
import type { ServerMessage, Target, WirePerson } from "./protocol.js"
import { applySteps } from "./rows.js"
import type { Group, Include, Query } from "./queries.js"
import type { Data } from "./schema.js"
import type { EntityEvent, Person, SubscribeOptions } from "./types.js"
import { Versions } from "./versions.js"

/** Milliseconds until the code for included rows is loaded again, and the messages that wait for it at most. */
const AGAIN = 1000
const MOST_EARLY = 1000

export type Told = Extract<ServerMessage, { type: "event" | "rows" | "diff" | "custom" | "system" | "metric" | "presence" }>

export abstract class Subscription {
  sub = 0
  /** The cursor of the last event seen, to resume after it. */
  cursor: string | undefined
  /** Whether the application has ended it: then its callbacks are not called, whatever waits. */
  ended = false
  /** Calls callbacks in the order of the client's others. */
  turn = inTurn()
  /** Requests everything again. */
  renew: () => void = () => {}
  /** Reports an error, to its `onError` or the client's. */
  fail: (error: LumenizeError) => void = () => {}

  constructor(
    readonly target: Target,
    readonly options: SubscribeOptions,
  ) {}

  /** What it knows is another user's. */
  forget(): void {}

  /** Handles a message. `false`: it does not fit the known rows, which must be read again. */
  abstract tell(message: Told): boolean | void

  /** The subscription is about to be sent. */
  asking(): void {}

  /** Events were missed: forget the versions seen. */
  restarted(): void {}

  /** Calls a callback in turn, unless the subscription has ended. */
  tellLater(call: () => unknown): void {
    this.turn(() => !this.ended && call())
  }

  /** Calls the callback in turn, while the condition holds. */
  protected deliver(call: () => unknown): void {
    this.tellLater(() => this.isWanted() && call())
  }

  protected isWanted(): boolean {
    return watched(this.options.condition?.() ?? true)
  }
}

export class EntitySubscription extends Subscription {
  private seen = new Versions()

  constructor(
    target: Target & { kind: "entities" },
    options: SubscribeOptions,
    private readonly callback: (event: EntityEvent) => unknown,
  ) {
    super(target, options)
  }

  tell(message: Told): void {
    if (message.type !== "event") return
    this.cursor = message.cursor
    const { permissions } = message
    const event = frozen(message.event)
    if (!this.seen.see(event.collection, event.id, event.version)) return // after a reconnect events may arrive again
    this.deliver(() => this.callback(permissions === undefined ? event : frozen({ ...event, permissions })))
  }

  override restarted(): void {
    this.seen = new Versions()
  }
}

/** A live query: keeps the server's rows, and shows them with this client's pending writes. */
export class RowsSubscription extends Subscription {
  /** @internal */
  rows: readonly Data[] = []
  /** Versions of the rows, and of rows that left the list while they had an own write: the version with which they left. */
  versions = new Map<string, number>()
  /** @internal Whether there are rows. */
  known = false
  private shown: readonly Data[] | null = null
  private readonly lens: Lens
  /** The number of committed own writes at the last request for rows, and at the request for the current rows. */
  private asked = 0
  private answered = -1
  private renewing = false
  /** @internal */
  included: IncludedRows | null = null
  /** @internal Messages that wait until the code for included rows is loaded: rows, and what has changed them since. */
  early: Told[] | null = null

  constructor(
    override readonly target: Target & { kind: "rows" },
    options: SubscribeOptions,
    query: Query,
    private readonly writes: OwnWrites,
    private readonly seen: (collection: string, id: string, version: number) => void,
    private readonly callback: (rows: Readonly<Data>[]) => unknown,
  ) {
    super(target, options)
    this.lens = lens(query, options.fields)
    if (query.include) void this.load(query.include)
  }

  private async load(include: Include, isFirst = true): Promise<void> {
    this.early ??= []
    try {
      this.included = new (await loaded(import("./included.js"), "include")).IncludedRows(include, { lens, isNews, applySteps }, this.writes, this.seen)
    } catch (error) {
      if (this.ended) return
      if (isFirst) this.fail(error as LumenizeError)
      setTimeout(() => void this.load(include, false), AGAIN)
      return
    }
    const { early } = this
    this.early = null
    if (!this.ended && !early.every((message) => this.tell(message) !== false)) this.renew()
  }

  private wait(message: Told, early: Told[]): void {
    if (message.type === "rows") early.length = 0
    if (early.length < MOST_EARLY) return void early.push(message)
    early.length = 0
    this.renew()
  }

  /** The collections whose rows it shows. */
  get collections(): string[] {
    return [this.target.collection, ...(this.included?.collections ?? [])]
  }

  private get collection(): string {
    return this.target.collection
  }

  override asking(): void {
    this.asked = this.writes.commits
  }

  tell(message: Told): boolean | void {
    if (this.early) return this.wait(message, this.early)
    if (message.type === "rows") {
      const { rows, versions, permissions } = message
      this.rows = permissions ? rows.map((row, index) => ({ ...row, permissions: permissions[index] })) : rows
      const own = new Set(this.writes.ops(this.collection).map(({ id }) => id))
      this.versions = new Map([...this.versions].filter(([id]) => own.has(id)))
      this.answered = this.asked
      this.renewing = false
      rows.forEach((row, index) => this.saw(row["id"], versions[index] ?? 0))
      this.included?.reset(message.included, rows)
    } else if (message.type === "diff") {
      const rows = applySteps(this.rows, message.steps)
      if (rows === null) return false
      this.rows = rows
      for (const { op, id, version } of message.steps) {
        if (op !== "leave") version !== undefined && this.saw(id, version)
        else if (!this.writes.ops(this.collection).some((own) => own.id === id)) this.versions.delete(id)
        else if (version !== undefined) this.versions.set(id, version) // the row with this version was not shown, so it does not count as seen
      }
      if (this.included?.change(message.included ?? [], rows) === false) return false
    } else return
    this.known = true
    this.show()
    for (const collection of this.collections) this.writes.told(collection)
  }

  /** They are another user's: shows none. */
  override forget(): void {
    if (this.early) this.early = []
    if (!this.known) return
    this.tell({ type: "rows", sub: this.sub, rows: [], versions: [] })
    this.known = false
  }

  /** Whether the rows are known to include an own, committed write. */
  isTold(op: Op): boolean {
    const isMine = op.collection === this.collection
    if (isMine && isNews(op, this.versions) && !(op.commit !== undefined && op.commit <= this.answered)) return false
    return this.included?.isTold(op, this.answered) ?? true
  }

  private ops(): Op[] {
    return this.collections.flatMap((each) => this.writes.ops(each)).filter((op) => op.version === undefined || !this.isTold(op))
  }

  private view(ops: readonly Op[]): readonly Data[] {
    const rows = this.lens(this.rows, this.versions, ops.filter(({ collection }) => collection === this.collection))
    return this.included?.show(rows, ops) ?? rows
  }

  /** Calls the callback with the rows as they are in its turn, if they have changed. */
  show(): void {
    if (!this.known) return
    this.tellLater(() => {
      const ops = this.ops()
      const rows = this.view(ops)
      const timely = ops.filter((op) => !this.writes.isLate(op))
      if (timely.length < ops.length && !this.renewing && !sameRows(rows, this.view(timely))) {
        this.renewing = true
        queueMicrotask(() => this.renew())
      }
      if ((this.shown !== null && sameRows(rows, this.shown)) || !this.isWanted()) return
      this.shown = rows
      for (const row of rows) frozen(row)
      return this.callback([...rows])
    })
  }

  private saw(id: string, version: number): void {
    this.versions.set(id, version)
    this.seen(this.collection, id, version)
  }
}

/** A live aggregate. Own writes count once the server has them. */
export class GroupsSubscription extends Subscription {
  /** @internal */
  groups: readonly Data[] | null = null

  constructor(
    target: Target & { kind: "aggregate" },
    options: SubscribeOptions,
    private readonly callback: (groups: Group[]) => unknown,
  ) {
    super(target, options)
  }

  tell(message: Told): boolean | void {
    if (!("sub" in message)) return
    const groups = message.type === "rows" ? message.rows : applySteps(this.groups ?? [], message.steps)
    if (groups === null) return false
    this.groups = groups
    groups.forEach(frozen)
    this.deliver(() => this.callback([...groups] as Group[]))
  }

  override forget(): void {
    if (this.groups === null) return
    this.groups = null
    this.deliver(() => this.callback([]))
  }
}

function sameRows(one: readonly Data[], other: readonly Data[]): boolean {
  return one.length === other.length && one.every((row, index) => same(row, other[index]))
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
    else if ("event" in message) this.deliver(() => this.callback(frozen(message.event) as never))
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
    for (const person of message.people) next.set(person.key, frozen(readPerson(person)))
    this.people = next
    this.deliver(() => this.callback([...next.values()], message.count))
  }
}

function readPerson({ key, userId, name, state, states }: WirePerson): Person {
  return { ...state, key, userId: userId ?? null, name: name ?? null, states: states ?? [] }
}
