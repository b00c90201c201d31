/** The IndexedDB database: its object stores, how versions follow each other, and what can go wrong. */
import { openDB, type DBSchema, type IDBPDatabase, type IDBPTransaction, type StoreNames } from "idb"
import { LumenizeError } from "../errors.js"
import type { WriteRequest } from "../writes.js"

/** A write that is not known to be answered. Its key is its order among the writes of all tabs. */
export interface KeptWrite {
  space: string
  /** When it was made, in milliseconds since the epoch; unique in its tab. */
  at: number
  /** The tab that sends it. */
  tab: string
  request: WriteRequest
  /** When it was first sent, by the server's clock, or `null`. */
  sent: number | null
}

/** A part of a document: a Yjs update. */
export interface KeptUpdate {
  update: Uint8Array
  /** Whether the server may lack it. */
  unsaved: boolean
}

/** What is known of a list or a document without reading it. */
export interface Item {
  bytes: number
  /** When it was last read or written. */
  used: number
  /** Whether it has edits that the server may lack. */
  unsaved: boolean
}

export type Kind = "rows" | "document"
export type ItemKey = [space: string, kind: Kind, name: string]
export type PartKey = [space: string, document: string, at: number, tab: string]

export interface Schema extends DBSchema {
  /** The space of the user whom the server took the holder of a credential for. */
  claims: { key: string; value: { space: string } }
  /** The users of whom something is kept; `born` tells a space from a later one of the same name. */
  spaces: { key: string; value: { born: string } }
  /** Tabs without Web Locks, and when they last said that they are there. */
  tabs: { key: string; value: number }
  writes: { key: [space: string, at: number, tab: string]; value: KeptWrite }
  items: { key: ItemKey; value: Item }
  /** The rows of lists as JSON. */
  rows: { key: [space: string, target: string]; value: string }
  updates: { key: PartKey; value: KeptUpdate }
}

export type Stores = StoreNames<Schema>
export type Database = IDBPDatabase<Schema>
export type Upgrade = (database: Database, transaction: IDBPTransaction<Schema, Stores[], "versionchange">) => void

/** Version n of the database is what the first n steps make. A step is never changed, only followed by another. */
export const UPGRADES: readonly Upgrade[] = [
  (database) => {
    for (const name of ["claims", "spaces", "tabs", "writes", "items", "rows", "updates"] as const) database.createObjectStore(name)
  },
]

/**
 * Why the browser keeps nothing, or not everything: there is no room (`quota`); there is no usable database, as in some
 * private windows (`unavailable`); the browser does not answer (`silent`); a newer version of the page has made it (`newer`), or waits for this page to let it go
 * (`outdated`); an older page does not let it go (`blocked`); the browser has deleted it (`deleted`); an entry could not
 * be read (`corrupt`); it is not known whose it is (`unknown`).
 */
export type StorageReason = "quota" | "unavailable" | "silent" | "newer" | "outdated" | "blocked" | "deleted" | "corrupt" | "unknown"

const MESSAGES: Record<StorageReason, string> = {
  quota: "the browser has no room left for what this page keeps",
  unavailable: "the browser keeps nothing for this page",
  silent: "the browser does not open the database of this page",
  newer: "a newer version of this page has written the database: reload the page",
  outdated: "a newer version of this page needs the database: reload the page",
  blocked: "an older version of this page, in another tab, holds the database: close it and reload the page",
  deleted: "the browser has deleted the database",
  corrupt: "an entry could not be read, and was deleted",
  unknown: "it is not known which user to forget: connect, or give the userId, and sign out again",
}

/** `STORAGE_FAILED`, with the reason in its details. */
export function storageFailed(reason: StorageReason, details: Record<string, unknown> = {}): LumenizeError {
  return new LumenizeError("STORAGE_FAILED", MESSAGES[reason], { reason, ...details })
}

/** The error of a failed operation. */
export function asStorageFailure(error: unknown): LumenizeError {
  if (error instanceof LumenizeError) return error
  const { name } = (error ?? {}) as { name?: unknown }
  if (name === "QuotaExceededError") return storageFailed("quota")
  if (name === "VersionError") return storageFailed("newer")
  return storageFailed("unavailable", { cause: String(error) })
}

/** Milliseconds for opening the database. Some browsers never answer. */
const PATIENCE = 3000

/**
 * Opens the database, and brings it to the newest version. `lost` is called once it can no longer be used. Rejects with
 * `STORAGE_FAILED`; a database of a newer version is left as it is.
 */
export async function openDatabase(
  name: string,
  lost: (error: LumenizeError) => void,
  upgrades: readonly Upgrade[] = UPGRADES,
  patience = PATIENCE,
): Promise<Database> {
  let isBlocked = false
  let timer: ReturnType<typeof setTimeout> | undefined
  try {
    const opening = openDB<Schema>(name, upgrades.length, {
      upgrade(database, before, _, transaction) {
        for (const upgrade of upgrades.slice(before)) upgrade(database, transaction as never)
      },
      blocked: () => (isBlocked = true),
      blocking(_, __, event) {
        ;(event.target as IDBDatabase).close()
        lost(storageFailed("outdated"))
      },
      terminated: () => lost(storageFailed("deleted")),
    })
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        reject(storageFailed(isBlocked ? "blocked" : "silent"))
        opening.then((database) => database.close()).catch(() => {})
      }, patience)
    })
    return await Promise.race([opening, late])
  } catch (error) {
    throw asStorageFailure(error)
  } finally {
    clearTimeout(timer)
  }
}
