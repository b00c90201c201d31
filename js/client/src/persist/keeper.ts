/** The option `persist`: keeps pending writes, the last rows of lists, and documents in IndexedDB. Loaded by its first user. */
import type { Welcome } from "../connection.js"
import { LumenizeError } from "../errors.js"
import type { Keeper, KeptContent } from "../keeper.js"
import { guarded } from "../listeners.js"
import type { Subscription } from "../subscription.js"
import type { Credentials, PersistOptions } from "../types.js"
import type { NumberedRequest } from "../writes.js"
import type { Yjs } from "../yjs.js"
import { Content, type ContentHost } from "./content.js"
import { asStorageFailure, openDatabase, storageFailed, type Database, type ItemKey, type StorageReason } from "./database.js"
import type { Host } from "./host.js"
import type { KeptClient } from "./kept-client.js"
import { ticker } from "./kept-write.js"
import { Lists } from "./lists.js"
import { claimOf, isOther, spaceOf } from "./space.js"
import { SignedOut, Store, unique } from "./store.js"
import { LockedTabs, SignallingTabs, type Tabs } from "./tabs.js"
import { WriteQueue } from "./write-queue.js"

const MAX_BYTES = 50_000_000
/** Milliseconds between two looks for writes of tabs that are gone, and between two for lists that have changed. */
const LOOK = 5000
const PAUSE = 1000

type Note = { document: string; update: Uint8Array } | { erased: true }

/** Gives the client its keeper. Never rejects: without one, everything stays in memory, and `onError` is told. */
export async function openKeeper(core: KeptClient, { name = "lumenize", maxBytes = MAX_BYTES }: PersistOptions): Promise<void> {
  const keeper = new DatabaseKeeper(core, name, maxBytes)
  await keeper.open()
  core.keeper = keeper
}

export class DatabaseKeeper implements Keeper, Host, ContentHost {
  private database: Database | null = null
  private tabs: Tabs | null = null
  store: Store | null = null
  /** The space that is in use, or is being opened, and the promise of that. */
  private space: string | null = null
  private using: Promise<void> = Promise.resolve()
  private session: object | null = null
  private readonly tab = unique()
  private readonly tick = ticker(() => Date.now())
  private credentials: Credentials | null = null
  private claim: string | null = null
  /** What is being restored. */
  private entering: Promise<void> = Promise.resolve()
  private readonly queue: WriteQueue
  private readonly lists: Lists
  private readonly contents = new Set<Content>()
  /** Documents that were closed, until all of their edits are kept. */
  private readonly closing = new Map<string, Promise<void>>()
  /** Documents that are not open here, and have edits that the server may lack. */
  private readonly unsent = new Set<string>()
  private channel: BroadcastChannel | null = null
  private timers: ReturnType<typeof setInterval>[] = []
  /** The reason of the last failure that was told. */
  private lastReason: StorageReason | null = null
  private sessions = 0

  constructor(
    readonly core: KeptClient,
    private readonly name: string,
    private readonly maxBytes: number,
  ) {
    this.queue = new WriteQueue(this, this.tab, this.tick)
    this.lists = new Lists(this, maxBytes)
  }

  async open(): Promise<void> {
    await this.attempt(async () => {
      this.database = await openDatabase(this.name, (error) => this.lose(error))
      const { locks } = globalThis.navigator ?? {}
      this.tabs = locks ? new LockedTabs(this.name, this.tab, locks) : new SignallingTabs(this.database, this.tab, () => Date.now())
      await this.tabs.begin()
      this.timers = [setInterval(() => void this.takeOver(), LOOK), setInterval(this.lists.keep, PAUSE)]
      for (const timer of this.timers) (timer as { unref?: () => void }).unref?.() // does not keep Node running
      this.core.pendingChanged.add(this.queue.compare)
      globalThis.document?.addEventListener("visibilitychange", this.lists.keep) // a hidden page may end without another word
    })
  }

  /** Ends the use of the database. What is kept stays. */
  close(): void {
    for (const timer of this.timers) clearInterval(timer)
    globalThis.document?.removeEventListener("visibilitychange", this.lists.keep)
    this.leave()
    this.tabs?.end()
    this.database?.close()
    this.database = null
  }

  // whose state it is

  enter(credentials: Credentials, token: Promise<string | undefined>): Promise<void> {
    // the rows of one user are not shown to the next, not even until the server answers
    if (this.credentials !== null && isOther(this.credentials, credentials)) this.forgetUser()
    this.credentials = credentials
    const { userId } = credentials
    const entering = (async (): Promise<void> => {
      const said = userId === undefined ? await token.catch(() => null) : undefined
      if (said === null || this.credentials !== credentials) return
      const claim = (this.claim = this.claimOf(credentials, said))
      const { database } = this
      const space = database && (await this.attempt(() => Store.spaceOf(database, claim)))
      if (!space || this.credentials !== credentials) return
      if (this.space !== null && this.space !== space) this.forgetUser() // the token function names another
      await this.use(space)
    })()
    // a document opens without waiting for a token that may never come
    this.entering = userId !== undefined || typeof credentials.token !== "function" ? entering : Promise.resolve()
    this.core.loading = this.entering
    return entering
  }

  renewed(credentials: Credentials, token: string): void {
    this.credentials = credentials
    const claim = (this.claim = this.claimOf(credentials, token))
    const { store } = this
    if (store !== null) void this.attempt(() => store.remember(claim))
  }

  private claimOf({ userId }: Credentials, token: string | undefined): string {
    const { url, projectId, apiKey } = this.core.settings
    return claimOf({ url, projectId, apiKey, userId, token })
  }

  opened({ projectId, userId }: Welcome): void {
    const space = spaceOf(this.core.settings.url, projectId, userId)
    if (this.space !== null && this.space !== space) this.forgetUser()
    const { claim } = this
    const session = ++this.sessions
    this.entering = this.use(space)
    void this.entering.then(async () => {
      const { store } = this
      if (session !== this.sessions || store === null) return
      if (claim !== null) await this.attempt(() => store.remember(claim))
      await this.takeOver()
      await this.sendDocuments(store)
    })
  }

  /** Restores what is kept in a space, and keeps everything there from now on. */
  private use(space: string): Promise<void> {
    const { database } = this
    if (database !== null && this.space !== space) {
      this.space = space
      this.using = this.restoreFrom(database, space)
    }
    return this.using
  }

  private async restoreFrom(database: Database, space: string): Promise<void> {
    const session = {}
    this.session = session
    const store = await this.attempt(() => Store.open(database, space, this.tab, this.tick))
    if (this.session !== session) return // another user has come meanwhile
    if (store === undefined) return void (this.space = null)
    this.store = store
    this.listen(store)
    await this.takeOver(true)
    if (this.session !== session) return
    this.queue.compare() // writes that were made before anybody knew by whom
    for (const { subscription } of this.core.subscriptions.active.values()) this.begun(subscription)
    await Promise.all([...this.contents].map((content) => content.bind(store, () => this.store === store)))
    const unsaved = (await this.attempt(() => store.unsaved())) ?? []
    if (this.session !== session) return
    this.count(unsaved.filter((name) => !this.isOpenHere(name)), true)
    await this.bound(store)
  }

  /** The session of a user is over: what is kept of them stays, and is not sent as another's. */
  private forgetUser(): void {
    const { store } = this
    this.leave()
    if (store === null) return
    this.forgetShown(new LumenizeError("AUTHENTICATION_FAILED", "the session of its user has ended; it is kept, and sent in the next one"))
  }

  /** Lets the client forget what is the user's: writes, documents and rows. */
  private forgetShown(error: LumenizeError): void {
    const { requests, documents, subscriptions } = this.core
    requests.forgetWrites(error)
    documents.forEach((each) => each.userChanged(error, true))
    for (const { subscription } of [...subscriptions.active.values()]) subscription.forget()
  }

  private leave(): void {
    this.lists.leave()
    this.store = this.space = this.session = null
    this.channel?.close()
    this.channel = null
    this.queue.leave()
    for (const content of this.contents) content.unbind()
    this.count([...this.unsent], false)
  }

  async erase(): Promise<void> {
    const { connection, settings } = this.core
    const { credentials } = connection
    if (this.store === null) await this.enter(credentials, tokenOf(credentials))
    const { store, channel, database, lastReason } = this
    // what another version of the page holds is still there
    if (database === null && lastReason !== null && lastReason !== "unavailable" && lastReason !== "deleted") throw storageFailed(lastReason)
    channel?.postMessage({ erased: true } satisfies Note)
    this.end(new LumenizeError("AUTHENTICATION_FAILED", "the user has signed out"))
    try {
      if (store !== null) await store.erase()
      else if (database !== null) await Store.eraseOf(database, settings.url, credentials.userId)
    } catch (error) {
      throw asStorageFailure(error)
    }
  }

  /** The user has signed out. */
  private end(error: LumenizeError): void {
    const { core } = this
    this.lists.forget()
    this.leave()
    this.credentials = this.claim = core.welcome = null
    core.connection.credentials = {}
    this.forgetShown(error)
  }

  // writes and lists

  send(writes: readonly NumberedRequest[]): void {
    this.queue.send(writes, this.entering)
  }

  /** Takes over the writes of this user whose tabs are gone. */
  private async takeOver(isNew = false): Promise<void> {
    if (this.tabs !== null) await this.queue.takeOver(this.tabs, isNew)
  }

  begun(subscription: Subscription): void {
    this.lists.begun(subscription)
  }

  // documents

  async document(name: string, yjs: Yjs): Promise<KeptContent> {
    await this.entering // also of a session that has begun since
    await this.closing.get(name) // otherwise the last edits would not be shown
    const content = new Content(name, yjs, this)
    this.contents.add(content)
    const { store } = this
    if (store !== null) await content.bind(store, () => this.store === store)
    return content
  }

  get unsaved(): number {
    return this.unsent.size
  }

  private count(names: readonly string[], unsent: boolean): void {
    const before = this.unsent.size
    for (const name of names) unsent ? this.unsent.add(name) : this.unsent.delete(name)
    if (this.unsent.size !== before) this.core.pending()
  }

  private isOpenHere(name: string): boolean {
    return [...this.contents].some((content) => content.name === name)
  }

  /** Sends what is kept of documents that nobody has opened here. */
  private async sendDocuments(store: Store): Promise<void> {
    const names = (await this.attempt(() => store.unsaved())) ?? []
    this.count([...this.unsent].filter((name) => !names.includes(name)), false) // another tab has sent them
    for (const name of names) {
      if (this.isOpenHere(name)) continue
      const { openDocument } = await import("../documents.js")
      await this.attempt(async () => {
        const document = await openDocument(name, `${name}\0${this.tick()}`, this.core, () => {})
        document.whenSaved().then(document.destroy, (error: LumenizeError) => {
          if (error.code !== "CONNECTION_LOST" && this.store === store) this.core.fail(error)
          document.destroy()
        })
      })
    }
  }

  isOpen(): boolean {
    return this.core.isOpen()
  }

  pass(document: string, update: Uint8Array): void {
    this.channel?.postMessage({ document, update } satisfies Note)
  }

  corrupt(document: string): void {
    this.core.fail(storageFailed("corrupt", { entries: "documents", document }))
  }

  followed(content: Content): void {
    this.count([content.name], false) // it counts itself from now on
  }

  ended(content: Content, unsaved: boolean): void {
    this.contents.delete(content)
    const store = unsaved ? this.store : null
    if (store !== null) this.count([content.name], true)
    const closing: Promise<void> = content.drained.then(() => {
      if (this.closing.get(content.name) === closing) this.closing.delete(content.name)
      if (store !== null && this.store === store && this.isOpen()) void this.sendDocuments(store)
    })
    this.closing.set(content.name, closing)
  }

  // other tabs

  private listen(store: Store): void {
    if (typeof BroadcastChannel === "undefined") return
    const channel = (this.channel = new BroadcastChannel(`lumenize ${this.name} ${store.space}`))
    ;(channel as { unref?: () => void }).unref?.() // does not keep Node running
    channel.onmessage = ({ data }: MessageEvent<Note>) => {
      if ("erased" in data) return this.signedOut()
      for (const content of this.contents) if (content.name === data.document) content.hear(data.update)
    }
  }

  /** The user has signed out in another tab. */
  private signedOut(): void {
    if (this.store === null) return
    const error = new LumenizeError("AUTHENTICATION_FAILED", "the user has signed out in another tab")
    this.core.connection.disconnect()
    this.end(error)
    this.core.fail(error)
  }

  // failures

  async attempt<T>(work: () => Promise<T>): Promise<T | undefined> {
    try {
      let result: T
      try {
        result = await work()
      } catch (error) {
        // once more, with less
        if (!isQuota(error) || this.store === null) throw error
        await this.store.bound(0, (key) => this.isHeld(key))
        result = await work()
      }
      this.lastReason = null
      return result
    } catch (error) {
      this.fail(error)
      return undefined
    }
  }

  private fail(error: unknown): void {
    if (this.database === null && this.lastReason !== null) return
    if (error instanceof SignedOut) return error.store === this.store ? this.signedOut() : undefined
    const failure = asStorageFailure(error)
    const reason = (failure.details["reason"] as StorageReason | undefined) ?? "unavailable"
    if (reason === this.lastReason) return // once, until something could be kept again
    this.lastReason = reason
    guarded(() => this.core.fail(failure))
  }

  /** The database can no longer be used: everything goes on in memory. */
  private lose(error: LumenizeError): void {
    this.database = null
    this.store = null
    this.fail(error)
    this.close()
  }

  async bound(store: Store): Promise<void> {
    await this.attempt(() => store.bound(this.maxBytes, (key) => this.isHeld(key)))
  }

  private isHeld([space, kind, name]: ItemKey): boolean {
    return kind === "document" && space === this.store?.space && this.isOpenHere(name)
  }
}

async function tokenOf({ token }: Credentials): Promise<string | undefined> {
  return typeof token === "function" ? token() : token
}

const isQuota = (error: unknown): boolean => (error as { name?: unknown } | null)?.name === "QuotaExceededError"
