/** Runs the snippets of a section one after the other, and checks behind each what it did. */
import { scenes, type Check, type Names } from "./scenes"
import { Stage, type Control } from "./stage"
import { Wire } from "./wire"

/** A section as the page has it. */
export interface Script {
  /** What has to be given to it, besides what it declares. */
  given: string[]
  count: number
  /** Calls `reached` behind each snippet, with what was declared until there, and waits for it. */
  run: (given: Record<string, unknown>, reached: (number: number, names: Names) => Promise<void>) => Promise<void>
}

export class Runner {
  private readonly wire = new Wire()
  private section: Section | null = null

  constructor(
    private readonly scripts: Record<string, Script>,
    private readonly control: Control,
    private readonly server: string,
  ) {}

  /** Run a section up to and including snippet `number`, or go on to there if it is under way. */
  async run(heading: string, number: number): Promise<void> {
    if (this.section?.heading !== heading || this.section.done >= number) {
      await this.section?.end()
      this.section = null
      const stage = new Stage(this.control, this.wire, this.server)
      try {
        this.section = await Section.begin(heading, this.script(heading), this.scene(heading), stage)
      } catch (error) {
        await stage.end()
        throw error
      }
    }
    while (this.section.done < number) await this.section.next()
  }

  /** End what is under way. */
  async end(): Promise<void> {
    await this.section?.end()
    this.section = null
  }

  private script(heading: string): Script {
    const script = this.scripts[heading]
    if (script === undefined) throw new Error(`the page has no section ${heading}`)
    return script
  }

  private scene(heading: string): (typeof scenes)[string] {
    const scene = scenes[heading]
    if (scene === undefined) throw new Error(`nothing is known of a section ${heading}`)
    return scene
  }
}

class Section {
  done = 0
  private resume = (): void => {}
  private arrived: (names: Names) => void = () => {}
  private failed: (error: unknown) => void = () => {}
  private error: unknown

  private constructor(
    readonly heading: string,
    private readonly stage: Stage,
    private readonly checks: Check[],
    private readonly start: (reached: (number: number, names: Names) => Promise<void>) => Promise<void>,
  ) {}

  static async begin(heading: string, script: Script, scene: (typeof scenes)[string], stage: Stage): Promise<Section> {
    const { given, checks } = await scene(stage)
    const all: Record<string, unknown> = { console: globalThis.console, window: globalThis.window, ...given }
    const [needed, there] = [script.given, Object.keys(all)].map((names) => [...names].sort().join(" "))
    if (needed !== there) throw new Error(`${heading} leaves undefined ${needed}; given is ${there}`)
    if (checks.length !== script.count) throw new Error(`${script.count} snippets, but ${checks.length} checks`)
    return new Section(heading, stage, checks, (reached) => script.run(all, reached))
  }

  /** Run the next snippet, and check what it did. */
  async next(): Promise<void> {
    if (this.error !== undefined) throw new Error("a snippet before this one has failed", { cause: this.error })
    const names = await new Promise<Names>((resolve, reject) => {
      this.arrived = resolve
      this.failed = reject
      if (this.done === 0) this.start((number, found) => this.reached(number, found)).catch((error: unknown) => this.fail(error))
      else this.resume()
    })
    await this.checks[this.done++]?.(names)
  }

  async end(): Promise<void> {
    await this.stage.end()
  }

  private reached(number: number, names: Names): Promise<void> {
    if (number !== this.done + 1) this.fail(new Error(`snippet ${number} was reached before ${this.done + 1}`))
    const stop = new Promise<void>((resolve) => (this.resume = resolve))
    this.arrived(names)
    return stop
  }

  private fail(error: unknown): void {
    this.error = error
    this.failed(error)
  }
}
