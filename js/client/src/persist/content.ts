/** Keeps one open document: what others and this tab write to it, as Yjs updates. */
/** @ts-ignore where it is not installed */
import type { Doc } from "yjs"
import type { Followed, KeptContent } from "../keeper.js"
import { guarded } from "../listeners.js"
import type { Yjs } from "../yjs.js"
import type { KeptUpdate, PartKey } from "./database.js"
import type { Host } from "./host.js"
import type { Store } from "./store.js"

/** Parts of a document after which they are made one. */
const MOST_PARTS = 200
/** Milliseconds after which a saved document is noted as such. */
const CALM = 1000

/** What a document needs of its client. */
export interface ContentHost extends Pick<Host, "attempt"> {
  isOpen(): boolean
  /** Tells other tabs of an edit that no server passes on to them. */
  pass(document: string, update: Uint8Array): void
  /** A part could not be read. */
  corrupt(document: string): void
  /** The document is open. */
  followed(content: Content): void
  /** It is no longer open; `unsaved`: it had edits that the server may lack, and has not refused. */
  ended(content: Content, unsaved: boolean): void
}

export class Content implements KeptContent {
  private store: Store | null = null
  private open: Followed | null = null
  /** Keys of the parts that are in the open document. */
  private mine = new Set<string>()
  private kept: Uint8Array[] = []
  private waiting: KeptUpdate[] = []
  private busy = false
  /** Resolves once all edits so far are kept. */
  drained: Promise<void> = Promise.resolve()
  /** Whether an edit could not be kept: the next part is the whole document. */
  private lacking = false
  /** Whether some of the own parts are unsaved. */
  private flagged = false
  private timer: ReturnType<typeof setTimeout> | undefined
  unsaved = false

  constructor(
    readonly name: string,
    private readonly yjs: Yjs,
    private readonly host: ContentHost,
  ) {}

  /**
   * Reads what is kept. If the document is open already, it gets that, and its own content is kept. `isCurrent`: whether
   * the store is still that of the user of the session.
   */
  async bind(store: Store, isCurrent: () => boolean): Promise<void> {
    const found = await this.host.attempt(() => store.parts(this.name))
    if (!isCurrent()) return
    this.store = store
    const parts = found?.parts ?? []
    this.mine = new Set(found?.keys.map(String))
    this.kept = parts.map(({ update }) => update)
    this.unsaved = this.flagged = parts.some(({ unsaved }) => unsaved)
    if (this.open === null) return
    const { doc } = this.open
    this.fill(doc)
    this.add(this.yjs.Y.encodeStateAsUpdate(doc), !this.open.saved)
  }

  /** The user of the session has changed: nothing more is kept. */
  unbind(): void {
    this.store = null
    this.waiting = []
    this.kept = []
    this.unsaved = false
    clearTimeout(this.timer)
  }

  fill(doc: Doc): void {
    const unreadable = new Set<Uint8Array>()
    for (const update of this.kept.splice(0)) {
      try {
        this.yjs.Y.applyUpdate(doc, update, this)
      } catch {
        unreadable.add(update)
      }
    }
    if (unreadable.size === 0) return
    this.host.corrupt(this.name)
    this.lacking = true
    this.calm(0)
  }

  follow(document: Followed): void {
    this.open = document
    document.doc.on("update", this.changed)
    const stops = [
      document.onState((state) => {
        if (state === "saved" && this.flagged) this.calm(CALM)
        if (state !== "closed") return
        document.doc.off("update", this.changed)
        for (const stop of stops) stop()
        if (this.isRefused(document)) void this.forget()
        this.host.ended(this, document.unsaved)
      }),
    ]
    this.host.followed(this)
  }

  /** An edit of another tab. */
  hear(update: Uint8Array): void {
    const { open } = this
    if (open !== null) guarded(() => this.yjs.Y.applyUpdate(open.doc, update, this))
  }

  private isRefused({ error }: Followed): boolean {
    return error?.code === "PERMISSION_DENIED" || error?.code === "NOT_FOUND"
  }

  /** The user may not read it any more. */
  private async forget(): Promise<void> {
    const { store } = this
    this.unbind()
    if (store !== null) await this.host.attempt(() => store.forget("document", this.name))
  }

  private readonly changed = (update: Uint8Array, origin: unknown): void => {
    if (origin === this) return
    const isOwn = origin !== this.open
    this.add(update, isOwn)
    if (isOwn && !this.host.isOpen()) this.host.pass(this.name, update)
  }

  private add(update: Uint8Array, unsaved: boolean): void {
    if (this.store === null) return
    this.waiting.push({ update, unsaved })
    if (!this.busy) this.drained = this.drain()
  }

  /** Writes what waits, in one part for each transaction of the database. */
  private async drain(): Promise<void> {
    this.busy = true
    for (let { store } = this; store !== null && this.waiting.length > 0; store = this.store) {
      const current = store
      const batch = this.waiting.splice(0)
      const unsaved = batch.some((part) => part.unsaved) || (this.lacking && this.flagged)
      const part = { update: this.merged(batch), unsaved }
      const added = await this.host.attempt(() => current.append(this.name, part))
      this.lacking = added === undefined || (added.isFirst && this.mine.size > 0) // another tab has dropped the others
      this.flagged ||= unsaved
      if (added !== undefined) this.mine.add(String(added.key))
      if (added?.isFirst && this.lacking) this.calm(0)
    }
    this.busy = false
    if (this.mine.size >= MOST_PARTS || (this.flagged && this.open?.saved === true)) this.calm(CALM)
  }

  private merged(batch: readonly KeptUpdate[]): Uint8Array {
    const { Y } = this.yjs
    if (this.lacking && this.open !== null) return Y.encodeStateAsUpdate(this.open.doc)
    return batch.length === 1 ? (batch[0] as KeptUpdate).update : Y.mergeUpdates(batch.map(({ update }) => update))
  }

  private calm(after: number): void {
    clearTimeout(this.timer)
    this.timer = setTimeout(() => void this.compact(), after)
    ;(this.timer as { unref?: () => void }).unref?.() // does not keep Node running
  }

  /** Makes one part of all that the open document contains. Parts of other tabs stay. */
  private async compact(): Promise<void> {
    const { open, store } = this
    if (open === null || store === null) return
    let unsaved = false
    const isMine = (key: PartKey): boolean => this.mine.has(String(key))
    const whole = (): KeptUpdate => {
      unsaved = !open.saved
      return { update: this.yjs.Y.encodeStateAsUpdate(open.doc), unsaved }
    }
    const key = await this.host.attempt(() => store.replace(this.name, isMine, whole))
    if (key === undefined) return
    this.mine = new Set([String(key)])
    this.flagged = unsaved
    this.lacking = false
  }
}
