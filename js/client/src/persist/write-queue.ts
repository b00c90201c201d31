/** Keeps the writes of this tab until they are answered, and takes over those of tabs that are gone. */
import { LumenizeError } from "../errors.js"
import type { Op } from "../overlay.js"
import type { OneWrite, WriteResult, Written } from "../protocol.js"
import type { NumberedRequest } from "../writes.js"
import { storageFailed, type KeptWrite } from "./database.js"
import type { Host } from "./host.js"
import { inOrder, isKeptWrite, writesIn, type Ticker } from "./kept-write.js"
import type { Tabs } from "./tabs.js"

export class WriteQueue {
  /** By the ids of their requests. */
  private readonly writes = new Map<number, KeptWrite>()
  private restoring = false

  /** `tab` is the name of this one. `tick` returns increasing times in milliseconds since the epoch. */
  constructor(
    private readonly host: Host,
    private readonly tab: string,
    private readonly tick: Ticker,
  ) {}

  /** Compares the queue of this tab with what is kept of it. */
  readonly compare = (): void => {
    const { core, store } = this.host
    if (store === null || this.restoring) return
    const { unanswered } = core.requests.writes
    const made: KeptWrite[] = []
    for (const { id, request } of unanswered.values()) {
      const known = this.writes.get(id)
      if (known?.request === request) continue // otherwise it is based on a newer version now
      const write = known ? { ...known, request } : { space: store.space, at: this.tick(), tab: this.tab, request, sent: null }
      this.writes.set(id, write)
      made.push(write)
    }
    const done = [...this.writes].filter(([id]) => !unanswered.has(id))
    for (const [id] of done) this.writes.delete(id)
    if (made.length > 0) void this.host.attempt(() => store.putWrites(made))
    if (done.length > 0) void this.host.attempt(() => store.deleteWrites(done.map(([, { space, at, tab }]) => [space, at, tab])))
  }

  /** Sends these writes once they are kept as they are sent. `entered`: once what is kept is restored. */
  send(writes: readonly NumberedRequest[], entered: Promise<void>): void {
    if (writes.length === 0) return
    const { core } = this.host
    const { welcome } = core
    const isNow = (id: number): boolean => core.welcome === welcome && core.requests.writes.has(id)
    void this.keepSent(writes, entered).then(() => {
      for (const { id, request } of writes) if (isNow(id)) core.requests.send(id, request)
    })
  }

  private async keepSent(writes: readonly NumberedRequest[], entered: Promise<void>): Promise<void> {
    await entered
    this.compare()
    const { store } = this.host
    if (store === null) return
    const kept: KeptWrite[] = []
    for (const { id, request, sent } of writes) {
      const write = this.writes.get(id)
      if (write === undefined) continue
      const next = { ...write, request, sent }
      this.writes.set(id, next)
      kept.push(next)
    }
    if (kept.length > 0) await this.host.attempt(() => store.putWrites(kept))
  }

  /** Takes over the writes of this user whose tabs are gone, in the order in which they were made. */
  async takeOver(tabs: Tabs, isNew = false): Promise<void> {
    const { core, store } = this.host
    if (store === null) return
    await this.host.attempt(async () => {
      const { keys, values } = await store.writes()
      const corrupt = keys.filter((_, index) => !isKeptWrite(values[index]))
      if (corrupt.length > 0) {
        await store.deleteWrites(corrupt)
        core.fail(storageFailed("corrupt", { entries: "writes", count: corrupt.length }))
      }
      const kept = values.filter(isKeptWrite)
      for (const { at } of kept) this.tick.pass(at)
      // those of an earlier session of this tab
      const adopted = isNew ? kept.filter(({ tab }) => tab === this.tab) : []
      for (const tab of new Set(kept.map((write) => write.tab))) {
        if (tab === this.tab) continue
        const theirs = kept.filter((write) => write.tab === tab)
        await tabs.ifGone(tab, async () => void adopted.push(...(await store.adopt(theirs))))
      }
      if (this.host.store === store && adopted.length > 0) this.restore(inOrder(adopted))
    })
  }

  private restore(kept: readonly KeptWrite[]): void {
    const { requests } = this.host.core
    const { writes } = requests
    const later = [...writes.unanswered]
    const laterShown = [...writes.shown]
    this.restoring = true
    for (const write of kept) {
      const { request, at, sent } = write
      const ops = writesIn(request).map((one) => this.opOf(one, at))
      const answer = requests.enqueue<unknown>(request, ops, sent)
      this.writes.set(writes.ids().at(-1) as number, write)
      answer.then(
        (result) => this.answered(write, result),
        (error: LumenizeError) => this.refusedWrite(request, error),
      )
    }
    // they were made before those that this page has made
    for (const [id, write] of later) if (writes.unanswered.delete(id)) writes.unanswered.set(id, write)
    for (const [name, op] of laterShown) if (writes.shown.delete(name)) writes.shown.set(name, op)
    this.restoring = false
    this.compare()
    requests.flush()
  }

  private opOf(write: OneWrite, at: number): Op | undefined {
    const op = (write.type as string) === "restore" ? undefined : this.host.core.collection(write.collection).opOf(write)
    return op && { ...op, made: at }
  }

  /** Nobody waits for the result of a kept write: what would be in it is told by the client's listeners. */
  private answered({ request }: KeptWrite, result: unknown): void {
    const results = (Array.isArray(result) ? result : [result]) as WriteResult[]
    writesIn(request).forEach((write, index) => {
      const one = results[index]
      if (one?.error !== undefined) this.refusedWrite(write, LumenizeError.of(one.error))
      else if (one && (one as Written).data !== undefined) this.host.core.collection(write.collection).wroteOne(write, one)
    })
  }

  private refusedWrite(request: object, { code, message, details, retryable }: LumenizeError): void {
    if (this.host.store !== null) this.host.core.fail(new LumenizeError(code, message, { ...details, request: structuredClone(request) }, retryable))
  }

  /** The session of a user is over. What is kept of their writes stays. */
  leave(): void {
    this.writes.clear()
  }
}
