/** What the test pages of all frameworks have in common: a scene is what is shown, and each part of it is one widget. */
import { LumenizeClient, type Data, type QueryWithCondition, type SystemEventType } from "@lumenize/client"
import type * as Y from "yjs"

export type Widget = { key: string } & (
  | { kind: "query"; collection: string; query: QueryWithCondition; enabled?: boolean; fields?: string[]; conditional?: boolean }
  | { kind: "connection" }
  | { kind: "presence"; room: string; state?: Data }
  | { kind: "document"; id: string }
  | { kind: "metric" }
  | { kind: "event"; type: string; channels: string[] }
  | { kind: "system"; type: SystemEventType }
)

export interface TestPage {
  client: LumenizeClient
  /** Show these widgets; those with a key that is shown already stay, with new values. */
  show(scene: Widget[]): void
  docs: Record<string, Y.Doc>
  emits: Record<string, (event?: Data) => Promise<void>>
  /** How often each widget was drawn. */
  draws: Record<string, number>
  /** What conditions say. */
  allowed: boolean
}

declare global {
  interface Window {
    page: TestPage
  }
}

export function createPage(): TestPage {
  const client = new LumenizeClient({ websocket: { initialDelay: 50, maxDelay: 200 } })
  const page: TestPage = { client, show: () => {}, docs: {}, emits: {}, draws: {}, allowed: true }
  window.page = page
  return page
}

export const allowed = (): boolean => window.page.allowed

/** A state as the tests read it. */
export function told(key: string, state: unknown): string {
  window.page.draws[key] = (window.page.draws[key] ?? 0) + 1
  return JSON.stringify(state, (_, value: unknown) =>
    value instanceof Error ? { code: (value as { code?: string }).code, message: value.message } : value,
  )
}

/** A document's state without what JSON cannot tell. */
export function toldDocument(
  key: string,
  id: string,
  { doc, state, synced, error }: { doc: Y.Doc | null; state: string; synced: boolean; error: unknown },
): string {
  if (doc !== null) window.page.docs[id] = doc
  return told(key, { open: doc !== null, state, synced, error })
}
