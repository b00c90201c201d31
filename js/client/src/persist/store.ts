/** What is kept of one user: every operation is one transaction of the database. */
import type { IDBPTransaction } from "idb"
import { storageFailed, type Database, type Item, type ItemKey, type Kind, type KeptUpdate, type KeptWrite, type PartKey, type Schema, type Stores } from "./database.js"
import { toDrop } from "./bounds.js"
import { isOf } from "./space.js"

type Change = IDBPTransaction<Schema, Stores[], "readwrite">

/** The parts of a document, and their keys. */
export interface Parts {
  keys: PartKey[]
  parts: KeptUpdate[]
}

/** The user of a store has signed out. */
export class SignedOut extends Error {
  constructor(readonly store: Store) {
    super("the user has signed out in another tab")
  }
}

/** Claims of one user: a token that says nothing of its holder is one of its own. */
const MOST_CLAIMS = 20

/** All operations reject with the browser's error, or with `SignedOut`. */
export class Store {
  private constructor(
    private readonly database: Database,
    readonly space: string,
    private readonly born: string,
    private readonly tab: string,
    private readonly tick: () => number,
  ) {}

  /** Opens the space, which is made if there is none. `tick` returns increasing times in milliseconds since the epoch. */
  static async open(database: Database, space: string, tab: string, tick: () => number): Promise<Store> {
    const transaction = database.transaction("spaces", "readwrite")
    const known = (await transaction.store.get(space)) ?? { born: unique() }
    await transaction.store.put(known, space)
    await transaction.done
    return new Store(database, space, known.born, tab, tick)
  }

  /** The space of a claim, if known. */
  static async spaceOf(database: Database, claim: string): Promise<string | undefined> {
    return (await database.get("claims", claim))?.space
  }

  /**
   * Erases what is kept of a user of this server who has not been in this page yet. Rejects with `STORAGE_FAILED` if it is
   * not known who that is, and something is kept of anybody.
   */
  static async eraseOf(database: Database, url: string, user: string | undefined): Promise<void> {
    const spaces = (await database.getAllKeys("spaces")).filter((space) => isOf(space, url))
    if (user === undefined && spaces.length > 0) throw storageFailed("unknown")
    for (const space of spaces) if (isOf(space, url, user)) await new Store(database, space, "", "", () => 0).erase()
  }

  /** The server has accepted a claim as that of this user. */
  async remember(claim: string): Promise<void> {
    await this.change(["claims"], async (change) => {
      const store = change.objectStore("claims")
      await store.put({ space: this.space }, claim)
      const [keys, claims] = await Promise.all([store.getAllKeys(), store.getAll()])
      const mine = keys.filter((_, index) => claims[index]?.space === this.space)
      if (mine.length > MOST_CLAIMS) await Promise.all(mine.filter((key) => key !== claim).map((key) => store.delete(key)))
    })
  }

  // writes

  async writes(): Promise<{ keys: Schema["writes"]["key"][]; values: unknown[] }> {
    const reading = this.database.transaction("writes")
    const [keys, values] = await Promise.all([reading.store.getAllKeys(below(this.space)), reading.store.getAll(below(this.space))])
    return { keys, values }
  }

  async putWrites(writes: readonly KeptWrite[]): Promise<void> {
    await this.change(["writes"], async (change) => {
      await Promise.all(writes.map((write) => change.objectStore("writes").put(write, keyOf(write))))
    })
  }

  async deleteWrites(keys: readonly Schema["writes"]["key"][]): Promise<void> {
    await this.change(["writes"], async (change) => {
      await Promise.all(keys.map((key) => change.objectStore("writes").delete(key)))
    })
  }

  /** Makes writes of a tab that is gone those of this tab. Returns those that no other has taken. */
  async adopt(writes: readonly KeptWrite[]): Promise<KeptWrite[]> {
    return this.change(["writes"], async (change) => {
      const store = change.objectStore("writes")
      const adopted: KeptWrite[] = []
      for (const write of writes) {
        if ((await store.getKey(keyOf(write))) === undefined) continue
        const mine = { ...write, tab: this.tab }
        await store.delete(keyOf(write))
        while ((await store.getKey(keyOf(mine))) !== undefined) mine.at += 1
        await store.put(mine, keyOf(mine))
        adopted.push(mine)
      }
      return adopted
    })
  }

  // lists

  async rows(target: string): Promise<string | undefined> {
    return this.change(["rows", "items"], async (change) => {
      const text = await change.objectStore("rows").get([this.space, target])
      if (text !== undefined) await this.touch(change, "rows", target, () => ({}))
      return text
    })
  }

  async putRows(target: string, text: string): Promise<void> {
    await this.change(["rows", "items"], async (change) => {
      await change.objectStore("rows").put(text, [this.space, target])
      await this.touch(change, "rows", target, () => ({ bytes: text.length }))
    })
  }

  // documents

  async parts(document: string): Promise<Parts> {
    return this.change(["updates", "items"], async (change) => {
      const found = await this.partsIn(change, document)
      if (found.keys.length > 0) await this.touch(change, "document", document, () => ({}))
      return found
    })
  }

  /** Adds an update. Returns its key, and whether nothing else is kept of the document. */
  async append(document: string, part: KeptUpdate): Promise<{ key: PartKey; isFirst: boolean }> {
    const key: PartKey = [this.space, document, this.tick(), this.tab]
    return this.change(["updates", "items"], async (change) => {
      const isFirst = (await change.objectStore("items").getKey([this.space, "document", document])) === undefined
      await change.objectStore("updates").put(part, key)
      await this.touch(change, "document", document, ({ bytes, unsaved }) => ({
        bytes: bytes + part.update.length,
        unsaved: unsaved || part.unsaved,
      }))
      return { key, isFirst }
    })
  }

  /** Replaces the parts of a document that `isMine` by what `whole` returns. Returns its key. */
  async replace(document: string, isMine: (key: PartKey) => boolean, whole: () => KeptUpdate): Promise<PartKey> {
    return this.change(["updates", "items"], async (change) => {
      const store = change.objectStore("updates")
      const { keys, parts } = await this.partsIn(change, document)
      const part = whole()
      const all = [part, ...parts.filter((_, index) => !isMine(keys[index] as PartKey))]
      await Promise.all(keys.filter(isMine).map((key) => store.delete(key)))
      const key: PartKey = [this.space, document, this.tick(), this.tab]
      await store.put(part, key)
      await this.touch(change, "document", document, () => ({
        bytes: all.reduce((sum, { update }) => sum + update.length, 0),
        unsaved: all.some(({ unsaved }) => unsaved),
      }))
      return key
    })
  }

  /** The documents with edits that the server may lack. */
  async unsaved(): Promise<string[]> {
    return (await this.items()).filter(([[space, kind], { unsaved }]) => space === this.space && kind === "document" && unsaved).map(([[, , name]]) => name)
  }

  // bounds

  async forget(kind: Kind, name: string): Promise<void> {
    await this.change(["rows", "updates", "items"], (change) => remove(change, [this.space, kind, name]))
  }

  /** Drops what was used least recently, of all users, until at most `maxBytes` are kept. */
  async bound(maxBytes: number, isHeld: (key: ItemKey) => boolean): Promise<void> {
    const keys = toDrop(await this.items(), maxBytes, isHeld)
    if (keys.length === 0) return
    await this.change(["rows", "updates", "items"], async (change) => {
      for (const key of keys) {
        const item = await change.objectStore("items").get(key)
        if (item?.unsaved === false) await remove(change, key) // another tab may have edited it meanwhile
      }
    })
  }

  /** Erases everything of this user. Other tabs can keep nothing of this session from then on. */
  async erase(): Promise<void> {
    const all = ["claims", "spaces", "writes", "items", "rows", "updates"] as const
    const change = this.database.transaction(all, "readwrite")
    const claims = change.objectStore("claims")
    for (const claim of await claims.getAllKeys()) if ((await claims.get(claim))?.space === this.space) await claims.delete(claim)
    await change.objectStore("spaces").delete(this.space)
    for (const name of ["writes", "items", "rows", "updates"] as const) await change.objectStore(name).delete(below(this.space))
    await change.done
  }

  private async change<T>(stores: Stores[], work: (change: Change) => Promise<T>): Promise<T> {
    const change = this.database.transaction(["spaces", ...stores], "readwrite", { durability: "relaxed" })
    change.done.catch(() => {}) // what `work` rejects with says more
    try {
      const space = await change.objectStore("spaces").get(this.space)
      if (space?.born !== this.born) throw new SignedOut(this)
      const result = await work(change)
      await change.done
      return result
    } catch (error) {
      try {
        change.abort()
      } catch {
        // it has ended already
      }
      throw error
    }
  }

  private async items(): Promise<[ItemKey, Item][]> {
    const reading = this.database.transaction("items")
    const [keys, items] = await Promise.all([reading.store.getAllKeys(), reading.store.getAll()])
    return keys.map((key, index) => [key, items[index] as Item])
  }

  private async partsIn(change: Change, document: string): Promise<Parts> {
    const store = change.objectStore("updates")
    const [keys, parts] = await Promise.all([store.getAllKeys(below(this.space, document)), store.getAll(below(this.space, document))])
    return { keys, parts }
  }

  private async touch(change: Change, kind: Kind, name: string, next: (before: Item) => Partial<Item>): Promise<void> {
    const store = change.objectStore("items")
    const key: ItemKey = [this.space, kind, name]
    const before = (await store.get(key)) ?? { bytes: 0, used: 0, unsaved: false }
    await store.put({ ...before, ...next(before), used: this.tick() }, key)
  }
}

/** A unique name. */
export const unique = (): string => crypto.getRandomValues(new Uint32Array(4)).join("-")

async function remove(change: Change, key: ItemKey): Promise<void> {
  const [space, kind, name] = key
  if (kind === "rows") await change.objectStore("rows").delete([space, name])
  else await change.objectStore("updates").delete(below(space, name))
  await change.objectStore("items").delete(key)
}

const keyOf = ({ space, at, tab }: KeptWrite): Schema["writes"]["key"] => [space, at, tab]

/** All keys that begin with these parts: arrays sort after strings and numbers. */
const below = (...parts: string[]): IDBKeyRange => IDBKeyRange.bound(parts, [...parts, []])
