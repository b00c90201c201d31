/** One collection of entities: reads, writes, subscriptions. */
import type { Core } from "./core.js"
import type { Op } from "./overlay.js"
import type { Permissions, Written } from "./protocol.js"
import { checkCallback, checkFind, checkHistory, checkName, checkRead, checkSubscribe, checkWrite } from "./options.js"
import { EntitySubscription, RowsSubscription, type Subscription } from "./subscription.js"
import type {
  Data,
  Entity,
  EntityEvent,
  FindOptions,
  HistoryOptions,
  Query,
  ReadOptions,
  Subscribed,
  SubscribeOptions,
  WriteOptions,
} from "./types.js"
import { plain } from "./values.js"

export type QueryWithCondition<T = Data> = Query<T> & { condition?: () => boolean }

/** A page of rows; `next` is the `after` of the query for the next one. */
export type Rows<T> = Entity<T>[] & { next?: string; permissions?: Permissions[] }

export class Collection<T extends Data = Data> {
  constructor(
    protected readonly core: Core,
    readonly name: string,
  ) {}

  /** A new entity. It is named by `id`, or by this client. Resolves once it is committed. */
  async create(data: T & { id?: string }): Promise<Entity<T>> {
    const { id: entity = randomId(), ...fields } = plain(data, 2) as Data & { id?: string }
    const at = new Date().toISOString()
    const values = { id: entity, ...fields, createdAt: at, updatedAt: at }
    return this.write(
      { type: "create", collection: this.name, data: fields, entity },
      { kind: "create", collection: this.name, id: entity, values },
    )
  }

  /** New values of some fields. Resolves once it is committed, with the entity as it is then. */
  async update(id: string, changes: Partial<T>, options: WriteOptions = {}): Promise<Entity<T>> {
    const { version = this.core.versions.get(this.name, id), onConflict = this.core.onConflict, unset = [] } = checkWrite(options)
    const said = plain<Data>(changes, 2)
    const values = { ...said, updatedAt: new Date().toISOString() }
    return this.write(
      {
        type: "update",
        collection: this.name,
        entity: id,
        changes: said,
        ...(version !== undefined && { version }),
        ...(onConflict !== "merge" && { onConflict }),
        ...(unset.length > 0 && { unset: [...unset] }),
      },
      { kind: "update", collection: this.name, id, values, unset },
    )
  }

  /** Delete an entity. Its history is kept. */
  async delete(id: string): Promise<void> {
    await this.write(
      { type: "delete", collection: this.name, entity: id },
      { kind: "delete", collection: this.name, id, values: {} },
    )
  }

  /** Bring a deleted entity back, or any entity to what it was in a version. */
  async restore(id: string, version?: number): Promise<Entity<T>> {
    return this.write({
      type: "restore",
      collection: this.name,
      entity: id,
      ...(version !== undefined && { version }),
    })
  }

  /** One entity. Rejects with `NOT_FOUND`. */
  async findById(id: string, options: FindOptions = {}): Promise<Entity<T> & { content?: Data; permissions?: Permissions }> {
    const { at, ...rest } = checkFind(options)
    const found = await this.core.ask<{
      data: Entity<T>
      version: number
      content?: Data
      permissions?: Permissions
    }>(
      {
        type: "findById",
        collection: this.name,
        entity: id,
        ...rest,
        ...(at !== undefined && { at: at instanceof Date ? at.toISOString() : at }),
      },
      "read",
    )
    if (options.version === undefined && at === undefined) this.core.versions.see(this.name, id, found.version)
    const { data, content, permissions } = found
    return { ...data, ...(content !== undefined && { content }), ...(permissions !== undefined && { permissions }) }
  }

  /** The rows of a query. */
  async findMany(
    query: Query<T> = {},
    options: ReadOptions = {},
  ): Promise<Rows<T>> {
    const found = await this.core.ask<{
      rows: Entity<T>[]
      versions: number[]
      next?: string
      permissions?: Permissions[]
    }>({ type: "findMany", collection: this.name, query: query as Query, ...checkRead(options) }, "read")
    found.rows.forEach((row, index) => this.core.versions.see(this.name, row.id, found.versions[index] ?? 0))
    return Object.assign(found.rows, {
      ...(found.next !== undefined && { next: found.next }),
      ...(found.permissions !== undefined && { permissions: found.permissions }),
    })
  }

  /**
   * The newest version of an entity that this client has been told, if any. Kept from the moment somebody begins to
   * edit, and given to `update` as `version`, it makes what others write meanwhile a conflict.
   */
  seen(id: string): number | undefined {
    return this.core.versions.get(this.name, id)
  }

  count(query: Query<T> = {}): Promise<number> {
    return this.core.ask({ type: "count", collection: this.name, query: query as Query }, "read")
  }

  /** Events of an entity, the newest first. */
  async history(id: string, options: HistoryOptions = {}): Promise<EntityEvent<T>[]> {
    return this.core.ask({ type: "history", collection: this.name, entity: id, ...checkHistory(options) }, "read")
  }

  /** Every event of the collection (`*`) or of one entity; or the rows of a query, now and whenever they change. */
  subscribe(target: string, callback: (event: EntityEvent<T>) => void, options?: SubscribeOptions): Subscribed
  subscribe(query: QueryWithCondition<T>, callback: (rows: Entity<T>[]) => void, options?: SubscribeOptions): Subscribed
  subscribe(
    target: string | QueryWithCondition<T>,
    callback: ((event: EntityEvent<T>) => void) | ((rows: Entity<T>[]) => void),
    options: SubscribeOptions = {},
  ): Subscribed {
    return this.core.subscriptions.add(this.subscription(target, callback, options))
  }

  /** @internal The same, to be added by whoever gathers several. */
  subscription(
    target: string | QueryWithCondition<T>,
    callback: ((event: EntityEvent<T>) => void) | ((rows: Entity<T>[]) => void),
    options: SubscribeOptions = {},
  ): Subscription {
    checkCallback(callback)
    const { fields, includePermissions, ...rest } = checkSubscribe(options)
    const shared = { ...(fields && { fields: [...fields] }), ...(includePermissions && { includePermissions }) }
    const settings: SubscribeOptions = { ...shared, ...rest }
    if (typeof target === "string") {
      return new EntitySubscription(
        { kind: "entities", collection: this.name, entity: target, ...shared },
        settings,
        (event) => {
          this.core.versions.see(this.name, event.id, event.version)
          ;(callback as (event: EntityEvent<T>) => void)(event as EntityEvent<T>)
        },
      )
    }
    if (typeof target !== "object" || target === null) checkName("what is subscribed to (an id, \"*\" or a query)", target)
    const { condition, ...wanted } = target
    if (condition !== undefined) checkCallback(condition)
    const query = plain(wanted as Query, 5)
    return new RowsSubscription(
      { kind: "rows", collection: this.name, query, ...shared },
      condition === undefined ? settings : { ...settings, condition },
      query,
      (collection) => this.core.requests.writes.ops(collection),
      (collection, id, version) => this.core.versions.see(collection, id, version),
      callback as (rows: Data[]) => void,
    )
  }

  private async write(request: Parameters<Core["write"]>[0], op?: Parameters<Core["op"]>[0]): Promise<Entity<T>> {
    const shown: Op | undefined = op && this.core.op(op)
    const { data, version, conflicts }: Written = await this.core.write({ ...request, request: randomId() }, shown)
    const id = request.entity
    this.core.versions.see(this.name, id, version)
    if (conflicts.length > 0) this.core.conflicts.tell(conflicts, { collection: this.name, id })
    return data as Entity<T>
  }
}

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

/** A name that nobody else gives: 20 characters, 119 random bits. */
export function randomId(): string {
  let id = ""
  while (id.length < 20) {
    for (const byte of crypto.getRandomValues(new Uint8Array(32))) {
      if (byte < 248 && id.length < 20) id += ALPHABET[byte % 62]
    }
  }
  return id
}
