/** What the test pages of all frameworks have in common: a scene is what is shown, and each part of it is one widget. */
import { LumenizeClient, queryStore, type Aggregate, type Data, type LumenizeError, type QueryWithCondition, type SystemEventType } from "@lumenize/client"
import type { PagesQuery } from "@lumenize/client/stores"
import type * as Y from "yjs"

export type Widget = { key: string } & (
  | {
      kind: "query"
      collection: string
      query: QueryWithCondition
      enabled?: boolean
      fields?: string[]
      conditional?: boolean
      /** Whether each row is drawn by a component of its own, which is drawn again only if its row is another one. */
      each?: boolean
    }
  | { kind: "pages"; collection: string; query: PagesQuery; pageSize: number; enabled?: boolean }
  | { kind: "aggregate"; collection: string; query: Aggregate; enabled?: boolean }
  | { kind: "connection" }
  | { kind: "presence"; room: string | null; state?: Data | null }
  | { kind: "document"; id: string | null }
  | { kind: "metric" }
  | { kind: "event"; type: string; channels: string[] }
  | { kind: "entity"; collection: string; id: string; fields?: string[] }
  | { kind: "system"; type: SystemEventType }
)

export interface Stage {
  scene: Widget[]
  client: LumenizeClient
  /** How often the client was exchanged. */
  exchanges: number
  /** With another number everything is mounted anew. */
  turn: number
  /** Whether it is hidden in the way of the framework, from which it may come back. */
  hidden: boolean
}

export class TestPage {
  stage: Stage
  /** The client that the page began with. */
  readonly first: LumenizeClient
  /** The framework's part: draw this. */
  draw: (stage: Stage) => void = () => {}
  readonly docs: Record<string, Y.Doc> = {}
  readonly emits: Record<string, (event?: Data) => Promise<void>> = {}
  /** What each list shows of more. */
  readonly more: Record<string, () => void> = {}
  /** How often each widget was drawn. */
  readonly draws: Record<string, number> = {}
  /** What conditions say. */
  allowed = true
  /** Ends what was subscribed to before the page was taken over. */
  forget = (): void => {}

  constructor(
    client: LumenizeClient,
    scene: Widget[] = [],
    /** Whether the client is that of everything (`set`), of what is below a provider (`provided`), or missing. */
    readonly mode: "provided" | "set" | "none" = "provided",
  ) {
    this.first = client
    this.stage = { scene, client, exchanges: 0, turn: 0, hidden: false }
  }

  get client(): LumenizeClient {
    return this.stage.client
  }

  /** How many subscriptions a client has: it hides them behind a symbol. */
  subscriptions(client: LumenizeClient): number {
    const [core] = Object.getOwnPropertySymbols(client) as [symbol]
    return (client as unknown as Record<symbol, { subscriptions: { size: number } }>)[core]?.subscriptions.size ?? NaN
  }

  change(more: Partial<Stage>): void {
    this.draw((this.stage = { ...this.stage, ...more }))
  }

  /** Show these widgets; those with a key that is shown already stay, with new values. */
  show(scene: Widget[]): void {
    this.change({ scene })
  }

  /** Unmount everything, and mount it again at once. */
  again(): void {
    this.change({ turn: this.stage.turn + 1 })
  }

  /** Another client, for everything below the provider. */
  async exchange(): Promise<void> {
    const client = makeClient()
    await client.connect()
    this.change({ client, exchanges: this.stage.exchanges + 1 })
  }
}

/** What a server has put into a page: what it rendered, and whether its rows are known before the page is taken over. */
interface Initial {
  scene: Widget[]
  known: boolean
}

declare global {
  interface Window {
    page: TestPage
    initial?: Initial
  }
}

export const makeClient = (): LumenizeClient => new LumenizeClient({ websocket: { initialDelay: 50, maxDelay: 200 } })

/** The page, once it may be drawn. */
export async function createPage(): Promise<TestPage> {
  const { scene, known } = window.initial ?? { scene: [], known: false }
  const mode = (new URLSearchParams(location.search).get("client") ?? "provided") as TestPage["mode"]
  const page = new TestPage(makeClient(), scene, mode)
  if (known) {
    await page.client.connect()
    const { collection, query } = scene.find((each) => each.kind === "query") as Extract<Widget, { kind: "query" }>
    const rows = queryStore(page.client, collection, query)
    await new Promise<void>((resolve) => {
      page.forget = rows.subscribe(() => rows.getSnapshot().loading || resolve())
    })
  }
  return (window.page = page)
}

export const allowed = (): boolean => window.page.allowed

/** A state as the tests read it. */
export function told(key: string, state: unknown): string {
  if (typeof window !== "undefined") window.page.draws[key] = (window.page.draws[key] ?? 0) + 1
  return JSON.stringify(state, (_, value: unknown) =>
    value instanceof Error ? { code: (value as { code?: string }).code, message: value.message } : value,
  )
}

/** A list's state; the page can load more of it. */
export function toldPages(key: string, state: { loadMore: () => void }): string {
  if (typeof window !== "undefined") window.page.more[key] = state.loadMore
  return told(key, state)
}

/** A document's state without what JSON cannot tell. */
export function toldDocument(
  key: string,
  id: string | null,
  { doc, state, synced, error }: { doc: Y.Doc | null; state: string; synced: boolean; error: unknown },
): string {
  if (doc !== null && id !== null) window.page.docs[id] = doc
  return told(key, { open: doc !== null, state, synced, error })
}

/** What is heard of an error. */
export const refusal = (error: LumenizeError): Data => ({ refused: error.code })
