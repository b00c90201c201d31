/** One collection of entities: reads, writes, subscriptions. */
import type { LumenizeError } from "./errors.js"
import type { Core } from "./core.js"
import type { Permissions, Request, Written } from "./protocol.js"
import { EntitySubscription, RowsSubscription, type Subscription } from "./subscriptions.js"
import type {
  Conflict,
  Data,
  Entity,
  EntityEvent,
  Query,
  SubscribeOptions,
  Unsubscribe,
  WriteOptions,
} from "./types.js"

export type QueryWithCondition = Query & { condition?: () => boolean }

export interface FindOptions {
  /** Content roots as plain values, in `content`. */
  content?: boolean
  /** As of a version or moment. */
  version?: number
  at?: Date | string
  includePermissions?: boolean
}

/** A page of rows; `next` is the `after` of the query for the next one. */
export type Rows<T> = Entity<T>[] & { next?: string; permissions?: Permissions[] }

export class Collection<T extends Data = Data> {
  constructor(
    protected readonly core: Core,
    readonly name: string,
  ) {}

  /** A new entity. It is named by `id`, or by this client. Resolves once it is committed. */
  async create(data: T & { id?: string }): Promise<Entity<T>> {
    const { id = randomId(), ...fields } = data
    const written = await this.write(
      { type: "create", collection: this.name, data: fields, entity: id },
      { id, kind: "create", data: fields },
    )
    return written.data as Entity<T>
  }

  /** New values of some fields. Resolves once it is committed, with the entity as it is then. */
  async update(id: string, changes: Partial<T>, options: WriteOptions = {}): Promise<Entity<T>> {
    const version = options.version ?? this.core.versions.get(this.name, id)
    const written = await this.write(
      {
        type: "update",
        collection: this.name,
        entity: id,
        changes,
        ...(version !== undefined && { version }),
        ...(options.onConflict !== undefined && { onConflict: options.onConflict }),
        ...(options.unset !== undefined && { unset: options.unset }),
      },
      { id, kind: "update", data: changes, unset: options.unset ?? [] },
    )
    return written.data as Entity<T>
  }

  /** Delete an entity. Its history is kept. */
  async delete(id: string): Promise<void> {
    await this.write({ type: "delete", collection: this.name, entity: id }, { id, kind: "delete", data: {} })
  }

  /** Bring a deleted entity back, or any entity to what it was in a version. */
  async restore(id: string, version?: number): Promise<Entity<T>> {
    const written = await this.write({
      type: "restore",
      collection: this.name,
      entity: id,
      ...(version !== undefined && { version }),
    })
    return written.data as Entity<T>
  }

  /** One entity. Rejects with `NOT_FOUND`. */
  async findById(id: string, options: FindOptions = {}): Promise<Entity<T> & { content?: Data; permissions?: Permissions }> {
    const { at, ...rest } = options
    const found = await this.core.requests.ask<{
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
    query: Query = {},
    options: Pick<SubscribeOptions, "fields" | "includePermissions"> = {},
  ): Promise<Rows<T>> {
    const found = await this.core.requests.ask<{
      rows: Entity<T>[]
      versions: number[]
      next?: string
      permissions?: Permissions[]
    }>({ type: "findMany", collection: this.name, query, ...options }, "read")
    found.rows.forEach((row, index) => this.core.versions.see(this.name, row.id, found.versions[index] ?? 0))
    return Object.assign(found.rows, {
      ...(found.next !== undefined && { next: found.next }),
      ...(found.permissions !== undefined && { permissions: found.permissions }),
    })
  }

  count(query: Query = {}): Promise<number> {
    return this.core.requests.ask({ type: "count", collection: this.name, query }, "read")
  }

  /** Events of an entity, the newest first. */
  history(id: string, options: { limit?: number; before?: number } = {}): Promise<EntityEvent<T>[]> {
    return this.core.requests.ask({ type: "history", collection: this.name, entity: id, ...options }, "read")
  }

  /** Every event of the collection (`*`) or of one entity; or the rows of a query, now and whenever they change. */
  subscribe(target: string, callback: (event: EntityEvent<T>) => void, options?: SubscribeOptions): Unsubscribe
  subscribe(query: QueryWithCondition, callback: (rows: Entity<T>[]) => void, options?: SubscribeOptions): Unsubscribe
  subscribe(
    target: string | QueryWithCondition,
    callback: ((event: EntityEvent<T>) => void) | ((rows: Entity<T>[]) => void),
    options: SubscribeOptions = {},
  ): Unsubscribe {
    return this.core.subscriptions.add(this.subscription(target, callback as (what: never) => void, options)).unsubscribe
  }

  /** The same, to be added by whoever gathers several. */
  subscription(
    target: string | QueryWithCondition,
    callback: (what: never) => void,
    options: SubscribeOptions = {},
  ): Subscription {
    const shared = {
      ...(options.fields !== undefined && { fields: options.fields }),
      ...(options.includePermissions === true && { includePermissions: true }),
    }
    if (typeof target === "string") {
      return new EntitySubscription(
        { kind: "entities", collection: this.name, entity: target, ...shared },
        options,
        (event) => {
          this.core.versions.see(this.name, event.id, event.version)
          ;(callback as (event: EntityEvent) => void)(event)
        },
      )
    }
    const { condition, ...query } = target
    return new RowsSubscription(
      { kind: "rows", collection: this.name, query, ...shared },
      condition === undefined ? options : { ...options, condition },
      query,
      (collection) => this.core.pendingOf(collection),
      (collection, id, version) => this.core.versions.see(collection, id, version),
      callback as (rows: Data[]) => void,
    )
  }

  private async write(
    request: Extract<Request, { request?: string }>,
    pending?: { id: string; kind: "create" | "update" | "delete"; data: Data; unset?: string[] },
  ): Promise<Written> {
    const settled = pending && this.core.expect({ collection: this.name, unset: [], ...pending })
    try {
      const written = await this.core.requests.ask<Written>({ ...request, request: randomId() }, "write")
      const id = written.data["id"] as string
      this.core.versions.see(this.name, id, written.version)
      if (written.conflicts.length > 0) this.core.conflicted(written.conflicts as Conflict[], { collection: this.name, id })
      return written
    } catch (error) {
      const { details, code } = error as LumenizeError
      if (code === "CONFLICT" && typeof details?.["version"] === "number" && "entity" in request && request.entity) {
        this.core.versions.see(this.name, request.entity, details["version"])
      }
      throw error
    } finally {
      settled?.()
    }
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
