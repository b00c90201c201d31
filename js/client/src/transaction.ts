/** Several writes of which all are made, or none. */
import { checkWrites, randomId, type Collection } from "./collection.js"
import type { Core } from "./core.js"
import { checkName } from "./options.js"
import type { OneWrite, WriteResult } from "./protocol.js"
import type { Data, Entity, NameOf, RowOf } from "./schema.js"
import type { UpdateOf, WriteOptions } from "./types.js"

const MOST = 100

/** Up to 100 writes of different entities, of any collections. Nothing is sent before `commit`. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export class Transaction<C = any> {
  private readonly writes: OneWrite[] = []

  constructor(
    private readonly core: Core,
    private readonly collection: (name: string) => Collection,
  ) {}

  /** Adds the creation of an entity, with `data.id` or a random id. */
  create<T extends Data = never, N extends NameOf<T, C> = NameOf<T, C>>(collection: N, data: NoInfer<RowOf<T, N, C>> & { id?: string }): this {
    return this.add(this.collection(collection).creating(data, 4))
  }

  /** Adds an update. With `onConflict: "reject"`, a conflict refuses the whole transaction. */
  update<T extends Data = never, N extends NameOf<T, C> = NameOf<T, C>>(
    collection: N,
    id: string,
    changes: NoInfer<Partial<RowOf<T, N, C>>>,
    options: NoInfer<WriteOptions<RowOf<T, N, C>>> = {},
  ): this {
    return this.add(this.collection(collection).updating({ ...options, id, changes } as UpdateOf, 4))
  }

  /** Adds the deletion of an entity. */
  delete<T extends Data = never, N extends NameOf<T, C> = NameOf<T, C>>(collection: N, id: string): this {
    checkName("an id", id)
    return this.add({ type: "delete", collection, entity: id })
  }

  /**
   * Sends all writes, to be made in one commit. Resolves with the entities, in order. It waits for a connection like
   * other writes, and takes effect once. Rejects with the error of a write that cannot be made; `details.write` is its
   * number.
   */
  async commit(): Promise<Entity[]> {
    const writes = [...this.writes]
    checkWrites(writes, MOST)
    const of = ({ collection }: OneWrite) => this.collection(collection)
    const results = await this.core.write<WriteResult[]>(
      { type: "transaction", writes, request: randomId() },
      writes.map((write) => of(write).opOf(write)),
    )
    return writes.map((write, index) => of(write).wroteOne(write, results[index] as WriteResult))
  }

  private add(write: OneWrite): this {
    checkName("a collection", write.collection)
    this.writes.push(write)
    return this
  }
}
