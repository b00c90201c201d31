/** What the server has set aside: edits that ended a worker, and log rows that cannot be read. */
import { get, post, type Aside } from "../api.js"
import { attempt, button, card, failure, h, link, reason, table, time, toast } from "../dom.js"
import { bytes, count } from "../numbers.js"
import { placeOf } from "../places.js"
import type { View } from "../view.js"

interface Entry {
  number: number
  bytes: number
  sha256: string
  writes: Range[]
  deletes: Range[]
  more: boolean
  malformed: string | null
}
type Range = { client: number; from: number; to: number }

export const quarantine: View = (context, main) => {
  const list = h("div")
  const detail = h("div", { "aria-live": "polite" })
  main.append(h("h1", {}, "Quarantine"), list, detail)

  const show = async (after: number): Promise<void> => {
    try {
      const found = await get<{ entries: Aside[]; next: number | null }>("quarantine", { after }, context.signal)
      list.replaceChildren(
        card(
          "Oldest first",
          table(
            "Quarantined edits",
            [
              { title: "Number", cell: (each: Aside) => String(each.number) },
              { title: "At", cell: (each) => time(each.at) },
              { title: "Document", cell: (each) => link(placeOf(each.project, "rows", [each.collection, each.id]), `${each.project}: ${each.collection}/${each.id}`) },
              { title: "Log row", cell: (each) => (each.row === null ? "never in the log" : String(each.row)) },
              { title: "Size", cell: (each) => bytes(each.bytes), number: true },
              { title: "Why", cell: (each) => each.reason },
              { title: "", cell: (each) => button("Look", () => look(each.number)) },
            ],
            found.entries,
            after === 0 ? "Nothing is in quarantine." : "No more.",
          ),
          found.next !== null && button("Next", () => show(found.next ?? 0)),
        ),
      )
    } catch (error) {
      if (!context.signal.aborted) list.replaceChildren(failure(error))
    }
  }

  const look = async (number: number): Promise<void> => {
    try {
      const found = await get<Entry>("entry", { number }, context.signal)
      const lines = (word: string, ranges: Range[]): string => ranges.map(({ client, from, to }) => `${word} client ${client}, clocks ${from} to ${to}`).join("\n")
      detail.replaceChildren(
        card(
          `Edit ${number}`,
          h("p", {}, found.malformed ?? `${bytes(found.bytes)}, ${count(found.writes.length)} ranges written, ${count(found.deletes.length)} deleted${found.more ? " (the first 200 are shown)" : ""}`),
          h("pre", { tabindex: 0 }, [`sha256 ${found.sha256}`, lines("writes", found.writes), lines("deletes", found.deletes)].filter(Boolean).join("\n")),
          h("p", { class: "hint" }, "To put it back into its document, run ", h("code", {}, `collab quarantine release ${number}`), "."),
          h("div", { class: "actions" }, button("Forget it", () => discard(number), "danger")),
        ),
      )
    } catch (error) {
      toast(reason(error), true)
    }
  }

  const discard = async (number: number): Promise<void> => {
    if (!confirm(`Forget the quarantined edit ${number}? Its bytes are deleted for good.`)) return
    if (await attempt(() => post("discard", { number }), "Forgotten.")) detail.replaceChildren()
    await show(0)
  }

  void show(0)
}
