/** Which tabs are there: each sends its own writes, and those of a tab that is gone are taken over by one other. */
import type { Database } from "./database.js"

export interface Tabs {
  /** Resolves once others know that this tab is there. */
  begin(): Promise<void>
  /** Does the work if that tab is gone; while it is done, nobody else does it. */
  ifGone(tab: string, work: () => Promise<void>): Promise<void>
  end(): void
}

/** A tab holds a Web Lock, which the browser releases however the tab ends. */
export class LockedTabs implements Tabs {
  private end_: () => void = () => {}

  constructor(
    private readonly database: string,
    private readonly tab: string,
    private readonly locks: LockManager,
  ) {}

  begin(): Promise<void> {
    const held = new Promise<void>((resolve) => (this.end_ = resolve))
    return new Promise((resolve, reject) => {
      this.locks.request(this.lockOf(this.tab), () => (resolve(), held)).catch(reject)
    })
  }

  async ifGone(tab: string, work: () => Promise<void>): Promise<void> {
    await this.locks.request(this.lockOf(tab), { ifAvailable: true }, (lock) => (lock === null ? undefined : work()))
  }

  end(): void {
    this.end_()
  }

  private lockOf(tab: string): string {
    return `lumenize ${this.database} ${tab}`
  }
}

/** Milliseconds between two signs of life, and after which a tab without one counts as gone. */
const SIGN = 5000
const SILENCE = 30_000

/**
 * Where there are no Web Locks (pages without https), a tab gives signs of life. One that slept may be taken for gone:
 * then two tabs send a write, which takes effect once all the same, because it has a name.
 */
export class SignallingTabs implements Tabs {
  private timer: ReturnType<typeof setInterval> | undefined

  constructor(
    private readonly database: Database,
    private readonly tab: string,
    private readonly now: () => number,
  ) {}

  async begin(): Promise<void> {
    await this.sign()
    this.timer = setInterval(() => void this.sign().catch(() => {}), SIGN)
    ;(this.timer as { unref?: () => void }).unref?.() // does not keep Node running
  }

  async ifGone(tab: string, work: () => Promise<void>): Promise<void> {
    const signed = await this.database.get("tabs", tab)
    if (signed !== undefined && Math.abs(this.now() - signed) < SILENCE) return
    await work()
    await this.database.delete("tabs", tab)
  }

  end(): void {
    clearInterval(this.timer)
  }

  private async sign(): Promise<void> {
    await this.database.put("tabs", this.now(), this.tab)
  }
}
