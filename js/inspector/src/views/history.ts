/** The versions of an entity: two of them side by side, and one to go back to. */
import type { EntityEvent } from "@lumenize/client"

import { sideBySide } from "../diff.js"
import { attempt, button, card, failure, h, reason, short, table, time, toast } from "../dom.js"
import type { Context } from "../view.js"

const PAGE = 50

export function history(context: Context, body: HTMLElement, name: string, id: string): void {
  const collection = context.live().collection<Record<string, unknown>>(name)
  const list = h("div")
  const compared = h("div", { "aria-live": "polite" })
  const chosen: number[] = []
  const known: EntityEvent[] = []

  const choose = (version: number): void => {
    const at = chosen.indexOf(version)
    if (at >= 0) chosen.splice(at, 1)
    else chosen.push(version)
    if (chosen.length > 2) chosen.shift()
    for (const box of list.querySelectorAll<HTMLInputElement>("input[type=checkbox]")) box.checked = chosen.includes(Number(box.value))
    if (chosen.length === 2) void compare(Math.min(...chosen), Math.max(...chosen))
    else compared.replaceChildren()
  }

  const compare = async (before: number, after: number): Promise<void> => {
    compared.replaceChildren(h("p", { class: "empty" }, "Reading both versions…"))
    try {
      const [left, right] = await Promise.all([before, after].map((version) => collection.findById(id, { version, content: true })))
      if (context.signal.aborted) return
      const rows = sideBySide(JSON.stringify(left, null, 2), JSON.stringify(right, null, 2))
      compared.replaceChildren(
        card(
          `Version ${before} and version ${after}`,
          h(
            "div",
            { class: "scroll", tabindex: 0, role: "region", "aria-label": "Differences" },
            h(
              "table",
              { class: "diff" },
              h("thead", {}, h("tr", {}, h("th", { scope: "col" }, `Version ${before}`), h("th", { scope: "col" }, `Version ${after}`))),
              h(
                "tbody",
                {},
                ...rows.map(({ left: one, right: other, same }) =>
                  h("tr", {}, h("td", { class: same ? "" : one === null ? "none" : "gone" }, one ?? ""), h("td", { class: same ? "" : other === null ? "none" : "new" }, other ?? "")),
                ),
              ),
            ),
          ),
        ),
      )
    } catch (error) {
      if (!context.signal.aborted) compared.replaceChildren(failure(error))
    }
  }

  const restore = async (version: number): Promise<void> => {
    if (!confirm(`Reset ${name}/${id} to version ${version}? This is a new edit; nothing of the history is lost.`)) return
    if (await attempt(() => collection.restore(id, version), `Reset to version ${version}.`)) {
      known.length = 0
      await more()
    }
  }

  const more = async (): Promise<void> => {
    const before = known.at(-1)?.version
    try {
      const events = await collection.history(id, { limit: PAGE, ...(before !== undefined && { before }) })
      if (context.signal.aborted || known.at(-1)?.version !== before) return // another click was faster
      known.push(...(events as EntityEvent[]))
      list.replaceChildren(
        table(
          "Versions",
          [
            {
              title: "Compare",
              cell: (event: EntityEvent) =>
                h("input", { type: "checkbox", value: event.version, checked: chosen.includes(event.version), "aria-label": `Compare version ${event.version}`, onchange: () => choose(event.version) }),
            },
            { title: "Version", cell: (event) => String(event.version), number: true },
            { title: "At", cell: (event) => time(event.at) },
            { title: "User", cell: (event) => event.userId ?? "nobody" },
            { title: "What", cell: (event) => event.type },
            { title: "Changes", cell: (event) => short(Object.keys(event.changes).join(", ")) },
            { title: "", cell: (event) => button("Reset to this", () => restore(event.version), "quiet") },
          ],
          known,
          "No history.",
        ),
        ...(events.length === PAGE ? [button("Older versions", more)] : []),
      )
    } catch (error) {
      toast(reason(error), true)
      if (known.length === 0) list.replaceChildren(failure(error))
    }
  }

  body.append(h("p", { class: "hint" }, "Choose two versions to see them side by side."), list, compared)
  void more()
}
