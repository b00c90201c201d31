/** One collection of entities: reads, writes, subscriptions. */
import type { Core } from "./core.js"
import type { Op } from "./overlay.js"
import type { Written } from "./protocol.js"
import { checkCallback, checkData, checkFind, checkHistory, checkName, checkRead, checkSubscribe, checkWrite } from "./options.js"
import { EntitySubscription, RowsSubscription, type Subscription } from "./subscription.js"
import type {
  Data,
  Entity,
  EntityEvent,
  FindOptions,
  HistoryOptions,
  Permissions,
  Query,
  ReadOptions,
  Shown,
  Subscribed,
  SubscribeOptions,
  WriteOptions,
} from "./types.js"
import { plain, plainQuery } from "./values.js"

export type QueryWithCondition<T = Data> = Query<T> & { condition?: () => boolean }

/** A page of rows; `next` is the `after` of the query for the next one. */
export type Rows<T> = Entity<T>[] & { next?: string; permissions?: Permissions[] }

export class Collection<T extends Data = Data> {
  constructor(
    protected readonly core: Core,
    readonly name: string,
  ) {}

  /** Creates an entity, with `data.id` or a random id. Resolves once it is committed. */
  async create(data: T & { id?: string }): Promise<Entity<T>> {
    checkData(data)
    const { id: entity = randomId(), ...fields } = plain(data, 2) as Data & { id?: string }
    return this.write(
      { type: "create", collection: this.name, data: fields, entity },
      { kind: "create", collection: this.name, id: entity, values: { id: entity, ...fields } },
    )
  }

  /** Changes some fields. Resolves with the new entity once it is committed. */
  async update(id: string, changes: Partial<T>, options: WriteOptions = {}): Promise<Entity<T>> {
    checkName("an id", id)
    checkData(changes)
    const { version = this.core.versions.get(this.name, id), onConflict = this.core.onConflict, unset = [] } = checkWrite(options)
    const said = plain<Data>(changes, 2)
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
      { kind: "update", collection: this.name, id, values: said, unset },
    )
  }

  /** Deletes an entity. Its history is kept. */
  async delete(id: string): Promise<void> {
    checkName("an id", id)
    await this.write(
      { type: "delete", collection: this.name, entity: id },
      { kind: "delete", collection: this.name, id, values: {} },
    )
  }

  /** Restores a deleted entity, or any entity to an earlier version. */
  async restore(id: string, version?: number): Promise<Entity<T>> {
    checkName("an id", id)
    return this.write({
      type: "restore",
      collection: this.name,
      entity: id,
      ...(version !== undefined && { version }),
    })
  }

  /** Reads one entity. Rejects with `NOT_FOUND`. */
  async findById(id: string, options: FindOptions = {}): Promise<Entity<T> & { content?: Data; permissions?: Permissions }> {
    checkName("an id", id)
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
    options: ReadOptions<T> = {},
  ): Promise<Rows<T>> {
    const found = await this.core.ask<{
      rows: Entity<T>[]
      versions: number[]
      next?: string
      permissions?: Permissions[]
    }>({ type: "findMany", collection: this.name, query: plainQuery(query, 2), ...checkRead(options) }, "read")
    found.rows.forEach((row, index) => this.core.versions.see(this.name, row.id, found.versions[index] ?? 0))
    return Object.assign(found.rows, {
      ...(found.next !== undefined && { next: found.next }),
      ...(found.permissions !== undefined && { permissions: found.permissions }),
    })
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

  /** Events of an entity, newest first. */
  async history(id: string, options: HistoryOptions = {}): Promise<EntityEvent<T>[]> {
    checkName("an id", id)
    return this.core.ask({ type: "history", collection: this.name, entity: id, ...checkHistory(options) }, "read")
  }

  /** Every event of the collection (`*`) or of one entity; or the rows of a query, now and after each change. */
  subscribe(target: string, callback: (event: Shown<EntityEvent<T>>) => void, options?: SubscribeOptions<T>): Subscribed
  subscribe(query: QueryWithCondition<T>, callback: (rows: Shown<Entity<T>>[]) => void, options?: SubscribeOptions<T>): Subscribed
  subscribe(
    target: string | QueryWithCondition<T>,
    callback: ((event: Shown<EntityEvent<T>>) => void) | ((rows: Shown<Entity<T>>[]) => void),
    options: SubscribeOptions<T> = {},
  ): Subscribed {
    return this.core.subscriptions.add(this.subscription(target, callback, options))
  }

  /** @internal The same, not yet added, for a batch. */
  subscription(
    target: string | QueryWithCondition<T>,
    callback: ((event: Shown<EntityEvent<T>>) => void) | ((rows: Shown<Entity<T>>[]) => void),
    options: SubscribeOptions<T> = {},
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

/** A unique id: 20 characters, 119 random bits. */
export function randomId(): string {
  let id = ""
  while (id.length < 20) {
    for (const byte of crypto.getRandomValues(new Uint8Array(32))) {
      if (byte < 248 && id.length < 20) id += ALPHABET[byte % 62]
    }
  }
  return id
}
