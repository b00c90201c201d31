/** The versions of a note: authors, earlier texts, and restoring. */
import type { EntityEvent, LumenizeClient } from "@lumenize/client"

import type { Note } from "./notes"

const MOST = 500
/** Milliseconds without an edit that end a session of writing. */
const PAUSE = 3000
const when = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" })

type NoteEvent = EntityEvent<Note>

/** The newest event of each session of writing, newest first. */
export function stretches(events: readonly NoteEvent[]): NoteEvent[] {
  return events.filter(({ userId, type, at }, index) => {
    const after = events[index - 1]
    if (after === undefined || after.userId !== userId || after.type !== type) return true
    return Date.parse(after.at) - Date.parse(at) > PAUSE
  })
}

function element<K extends keyof HTMLElementTagNameMap>(
  name: K,
  members: Partial<HTMLElementTagNameMap[K]> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = Object.assign(document.createElement(name), members)
  made.append(...children)
  return made
}

export async function showVersions(client: LumenizeClient<{ notes: Note }>, id: string, title: string): Promise<void> {
  const list = element("ol", { ariaLabel: "Versions" }, element("li", {}, "Looking them up…"))
  const text = element("pre", { ariaLabel: "What it was like", tabIndex: 0 })
  const restore = element("button", { type: "button", className: "primary", textContent: "Restore this version", disabled: true })
  const closing = element("button", { type: "button", textContent: "Close" })
  const problem = element("p", { className: "problem", role: "alert" })
  const dialog = element(
    "dialog",
    { className: "history versions card", ariaLabel: "Versions" },
    element(
      "div",
      { className: "inside" },
      element("header", {}, element("h2", {}, title || "Untitled"), closing),
      problem,
      element("div", { className: "two" }, list, element("div", { className: "then" }, text, restore)),
    ),
  )
  document.body.append(dialog)
  dialog.addEventListener("close", () => dialog.remove())
  dialog.addEventListener("click", ({ target }) => target === dialog && dialog.close())
  closing.addEventListener("click", () => dialog.close())
  dialog.showModal()

  const failed = (error: Error): void => void (problem.textContent = error.message)
  let events: readonly NoteEvent[] = []
  let chosen: number | null = null
  let follows = true // shows the newest version until the user selects one
  const choose = async (version: number): Promise<void> => {
    chosen = version
    draw()
    const found = await client.notes.findById(id, { version, content: true })
    if (chosen !== version) return // another version was selected meanwhile
    text.textContent = String(found.content?.["content"] ?? "") || "(empty)"
  }
  const draw = (): void => {
    restore.disabled = chosen === null || chosen === events[0]?.version
    list.replaceChildren(
      ...events.map(({ version, userId, at, type }) => {
        const did = type === "created" ? "made it" : "wrote"
        const time = element("time", { dateTime: at }, when.format(new Date(at)))
        const button = element("button", { type: "button" }, element("b", {}, userId ?? "Somebody"), ` ${did}`, time)
        button.ariaPressed = String(version === chosen)
        button.addEventListener("click", () => {
          follows = false
          choose(version).catch(failed)
        })
        return element("li", {}, button)
      }),
    )
  }
  const read = async (): Promise<void> => {
    events = stretches(await client.notes.history(id, { limit: MOST }))
    const [newest] = events
    const gone = !events.some(({ version }) => version === chosen)
    if (newest !== undefined && (follows || gone)) await choose(newest.version)
    else draw()
  }
  restore.addEventListener("click", () => {
    if (chosen === null) return
    restore.disabled = true
    client.notes.restore(id, chosen).then(() => dialog.close(), failed)
  })
  const stop = client.notes.subscribe(id, () => void read().catch(failed), { onError: failed })
  dialog.addEventListener("close", stop)
  await read().catch(failed)
}
