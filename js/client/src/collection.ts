/** One collection of entities: reads, writes, subscriptions. */
import type { Core } from "./core.js"
import { invalid, loaded, LumenizeError } from "./errors.js"
import { frozen } from "./frozen.js"
import type { Op } from "./overlay.js"
import type { OneWrite, WireIncluded, Written, WriteResult } from "./protocol.js"
import { check, checkCallback, checkData, checkList, checkName, FIND, HISTORY, LIVE, READ, SUBSCRIBE, WRITE } from "./options.js"
import { EntitySubscription, GroupsSubscription, RowsSubscription, type Subscription } from "./subscription.js"
import type { Aggregate, Field, Group, GroupOf, IncludeOf, Including, Nothing, Query, QueryWithCondition, Right, RowWith, Selected } from "./queries.js"
import type { Data, Entity } from "./schema.js"
import type {
  EntityEvent,
  FindOptions,
  HistoryOptions,
  Permissions,
  ReadOptions,
  Shown,
  Subscribed,
  SubscribeOptions,
  UpdateOf,
  WriteOptions,
} from "./types.js"
import { plain, plainQuery } from "./values.js"
import type { WriteRequest } from "./writes.js"

/** A page of rows; `next` is the `after` of the query for the next one. */
export type Rows<T, R = Entity<T>> = R[] & { next?: string; permissions?: Permissions[] }

type Single = Exclude<WriteRequest, { writes: unknown }>
type Writing<K> = Extract<OneWrite, { type: K }>

const MOST_WRITES = 1000

export class Collection<T extends Data = Data> {
  constructor(
    protected readonly core: Core,
    readonly name: string,
  ) {}

  private readonly saw = (collection: string, id: string, version: number): void => void this.core.versions.see(collection, id, version)

  /** Creates an entity, with `data.id` or a random id. Resolves once it is committed. */
  async create(data: T & { id?: string }): Promise<Entity<T>> {
    const write = this.creating(data, 2)
    return this.write(write, { id: write.entity, ...write.data })
  }

  /** Changes some fields. Resolves with the new entity once it is committed. */
  async update(id: string, changes: Partial<T>, options: WriteOptions<T> = {}): Promise<Entity<T>> {
    checkData(changes)
    const write = this.updating({ ...options, id, changes } as UpdateOf, 2)
    return this.write(write, write.changes, write.unset)
  }

  /** Deletes an entity. Its history is kept. */
  async delete(id: string): Promise<void> {
    checkName("an id", id)
    await this.write({ type: "delete", collection: this.name, entity: id }, {})
  }

  /** Restores a deleted entity, or any entity to an earlier version. */
  async restore(id: string, version?: number): Promise<Entity<T>> {
    checkName("an id", id)
    return this.write({ type: "restore", collection: this.name, entity: id, version })
  }

  /**
   * Creates up to 1,000 entities in one request, each on its own. Resolves with the outcome of each, in order: one that
   * fails does not affect the others.
   */
  async createMany(entities: readonly (T & { id?: string })[]): Promise<PromiseSettledResult<Entity<T>>[]> {
    checkList("the entities", entities)
    return this.writeMany(entities.map((data) => this.creating(data, 4)))
  }

  /** Changes up to 1,000 entities in one request, each on its own, as `createMany` creates them. */
  async updateMany(updates: readonly UpdateOf<T>[]): Promise<PromiseSettledResult<Entity<T>>[]> {
    checkList("the updates", updates)
    return this.writeMany(updates.map((update) => this.updating(update as UpdateOf, 4)))
  }

  /** Deletes up to 1,000 entities in one request, each on its own, as `createMany` creates them. */
  async deleteMany(ids: readonly string[]): Promise<PromiseSettledResult<Entity<T>>[]> {
    checkList("the ids", ids)
    return this.writeMany(
      ids.map((entity) => {
        checkName("an id", entity)
        return { type: "delete", collection: this.name, entity }
      }),
    )
  }

  /** Reads one entity. Rejects with `NOT_FOUND`. */
  async findById(id: string, options: FindOptions = {}): Promise<Entity<T> & { content?: Data; permissions?: Permissions }> {
    checkName("an id", id)
    const { data, version, content, permissions } = await this.core.ask<{
      data: Entity<T>
      version: number
      content?: Data
      permissions?: Permissions
    }>(
      { type: "findById", collection: this.name, entity: id, ...check(options, FIND) },
      "read",
    )
    if (options.version === undefined && options.at === undefined) this.core.versions.see(this.name, id, version)
    return { ...data, ...(content && { content }), ...(permissions && { permissions }) }
  }

  /** The rows of a query. */
  async findMany<F extends Field<T> = Field<T>, I extends IncludeOf<T> = Nothing>(
    query: Query<T> & Including<T, I> = {},
    options: ReadOptions<T, F> = {},
  ): Promise<Rows<T, RowWith<T, F, I>>> {
    const { rows, versions, next, permissions, included } = await this.core.ask<{
      rows: (RowWith<T, F, I> & { id: string })[]
      versions: number[]
      next?: string
      permissions?: Permissions[]
      included?: Record<string, WireIncluded>
    }>({ type: "findMany", collection: this.name, query: plainQuery(query, 2), ...check(options as ReadOptions, READ) }, "read")
    rows.forEach((row, index) => this.core.versions.see(this.name, row.id, versions[index] ?? 0))
    const shown = included ? (await loaded(import("./included.js"), "include")).withIncluded(rows, included, this.saw) : rows
    return Object.assign(shown, next !== undefined && { next }, permissions && { permissions })
  }

  /**
   * The newest version of an entity that this client has received, if any. To detect what others write during an edit
   * as a conflict, keep it from the start of the edit and pass it to `update` as `version`.
   */
  seen(id: string): number | undefined {
    return this.core.versions.get(this.name, id)
  }

  async count(query: Query<T> = {}): Promise<number> {
    return this.core.ask({ type: "count", collection: this.name, query: plainQuery(query, 2) }, "read")
  }

  /** Counts and adds up matching rows, by group; without `groupBy`, one group with all of them. */
  async aggregate<Q extends Aggregate<T> = Aggregate<T>>(query: Q & Right<Q, T, Aggregate<T>> = {} as Q & Right<Q, T, Aggregate<T>>): Promise<GroupOf<T, Q>[]> {
    const wanted = plainQuery<Aggregate>(query, 2)
    return (await this.core.ask<{ groups: GroupOf<T, Q>[] }>({ type: "aggregate", collection: this.name, query: wanted }, "read")).groups
  }

  /** The groups of an aggregate, now and after each change. */
  subscribeAggregate<Q extends Aggregate<T> = Aggregate<T>>(
    query: Q & Right<Q, T, Aggregate<T>>,
    callback: (groups: Shown<GroupOf<T, Q>>[]) => void,
    options: Omit<SubscribeOptions, keyof ReadOptions> = {},
  ): Subscribed {
    checkCallback(callback)
    const target = { kind: "aggregate", collection: this.name, query: plainQuery<Aggregate>(query, 5) } as const
    return this.core.subscriptions.add(new GroupsSubscription(target, check(options, LIVE), callback as (groups: Shown<Group>[]) => void))
  }

  /** Events of an entity, newest first. */
  async history(id: string, options: HistoryOptions = {}): Promise<EntityEvent<T>[]> {
    checkName("an id", id)
    return this.core.ask({ type: "history", collection: this.name, entity: id, ...check(options, HISTORY) }, "read")
  }

  /** Every event of the collection (`*`) or of one entity; or the rows of a query, now and after each change. */
  subscribe(target: string, callback: (event: Shown<EntityEvent<T>>) => void, options?: SubscribeOptions<T>): Subscribed
  subscribe<F extends Field<T> = Field<T>, I extends IncludeOf<T> = Nothing>(
    query: QueryWithCondition<T> & Including<T, I>,
    callback: (rows: Shown<RowWith<T, F, I>>[]) => void,
    options?: SubscribeOptions<T, F>,
  ): Subscribed
  subscribe(
    target: string | QueryWithCondition<T>,
    callback: ((event: Shown<EntityEvent<T>>) => void) | ((rows: Shown<Selected<T, Field<T>>>[]) => void),
    options: SubscribeOptions<T> = {},
  ): Subscribed {
    return this.core.subscriptions.add(this.subscription(target, callback, options))
  }

  /** @internal The same, not yet added, for a batch. */
  subscription(
    target: string | QueryWithCondition<T>,
    callback: ((event: Shown<EntityEvent<T>>) => void) | ((rows: Shown<Selected<T, Field<T>>>[]) => void),
    options: SubscribeOptions<T> = {},
  ): Subscription {
    checkCallback(callback)
    const settings = check(options as SubscribeOptions, SUBSCRIBE)
    const shared = { fields: settings.fields, includePermissions: settings.includePermissions || undefined }
    if (typeof target === "string") {
      return new EntitySubscription(
        { kind: "entities", collection: this.name, entity: target, ...shared },
        settings,
        (event) => {
          this.core.versions.see(this.name, event.id, event.version)
          return (callback as (event: EntityEvent<T>) => unknown)(event as EntityEvent<T>)
        },
      )
    }
    if (typeof target !== "object" || target === null) checkName("the target (an id, \"*\" or a query)", target)
    const { condition, ...wanted } = target
    if (condition !== undefined) checkCallback(condition)
    const query = plainQuery(wanted, 5)
    return new RowsSubscription(
      { kind: "rows", collection: this.name, query, ...shared },
      condition === undefined ? settings : { ...settings, condition },
      query,
      this.core.requests.writes,
      this.saw,
      callback as (rows: Data[]) => void,
    )
  }

  /** @internal One of several writes; `depth` is that of its values in the message. */
  creating(data: Data, depth: number): Writing<"create"> {
    checkData(data)
    const { id: entity = randomId(), ...fields } = plain(data, depth) as Data & { id?: string }
    return { type: "create", collection: this.name, data: fields, entity }
  }

  /** @internal */
  updating({ id, changes = {}, ...options }: UpdateOf, depth: number): Writing<"update"> {
    checkName("an id", id)
    checkData(changes)
    const { version = this.core.versions.get(this.name, id), onConflict = this.core.settings.conflicts, unset = [] } = check(options, WRITE)
    return {
      type: "update",
      collection: this.name,
      entity: id,
      changes: plain<Data>(changes, depth),
      version,
      ...(onConflict !== "merge" && { onConflict }),
      unset: unset.length > 0 ? [...unset] : undefined,
    }
  }

  private async writeMany(writes: OneWrite[]): Promise<PromiseSettledResult<Entity<T>>[]> {
    checkWrites(writes, MOST_WRITES)
    const results = await this.core.write<WriteResult[]>(
      { type: "writeMany", writes: writes.map((write) => ({ ...write, request: randomId() })) },
      writes.map((write) => this.opOf(write)),
    )
    return results.map((result, index) =>
      result.error === undefined
        ? { status: "fulfilled", value: this.wroteOne(writes[index] as OneWrite, result) }
        : { status: "rejected", reason: LumenizeError.of(result.error) },
    )
  }

  /** @internal What lists show of one of several writes. */
  opOf(write: OneWrite): Op | undefined {
    const { type, entity } = write
    if (type === "create") return this.op(type, entity, { id: entity, ...write.data })
    return type === "update" ? this.op(type, entity, write.changes, write.unset) : this.op(type, entity, {})
  }

  /** @internal One of several writes was made. */
  wroteOne({ entity }: OneWrite, result: WriteResult): Entity<T> {
    return this.wrote(entity, { conflicts: [], ...(result as Omit<Written, "conflicts">) })
  }

  /** Lists show `values`, and omit `unset`, before the write is confirmed. */
  private async write(request: Single, values?: Data, unset?: readonly string[]): Promise<Entity<T>> {
    const { type, entity } = request
    const op = values && type !== "restore" ? this.op(type, entity, values, unset) : undefined
    return this.wrote(entity, await this.core.write<Written>({ ...request, request: randomId() }, [op]))
  }

  private op(kind: Op["kind"], id: string, values: Data, unset: readonly string[] = []): Op | undefined {
    return this.core.settings.optimistic ? { kind, collection: this.name, id, values, unset, made: Date.now() } : undefined
  }

  private wrote(id: string, { data, version, conflicts }: Written): Entity<T> {
    this.core.versions.see(this.name, id, version)
    if (conflicts.length > 0) this.core.conflicts.tell(frozen(conflicts), frozen({ collection: this.name, id }))
    return data as Entity<T>
  }
}

/** Throws `INVALID_REQUEST` if there are more than `most` writes, or two of one entity. */
export function checkWrites(writes: readonly OneWrite[], most: number): void {
  if (writes.length > most) throw invalid(`${writes.length} writes: there may be ${most}`)
  const names = new Set<string>()
  for (const { collection, entity } of writes) {
    const name = `${collection}/${entity}`
    if (names.has(name)) throw invalid(`${name}: an entity may occur once`)
    names.add(name)
  }
}

/** A unique id: 20 letters and digits, 119 random bits. */
export function randomId(): string {
  let id = ""
  while (id.length < 20) id += btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(24)))).replace(/[+/]/g, "")
  return id.slice(0, 20)
}
