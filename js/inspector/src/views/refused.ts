/** Who was refused lately, and why. */
import { get, type Nodes } from "../api.js"
import { card, h, nodeColumn, rowsOf, silent, table, time } from "../dom.js"
import { count } from "../numbers.js"
import { watch, type View } from "../view.js"

interface Refusals {
  clients: { message: string; first: string; last: string; count: number }[]
  sessions: { at: string; kind: string; place: string; userId: string | null; reason: string }[]
}

export const refused: View = (context, main) => {
  const body = h("div")
  main.append(h("h1", {}, "Refused"), h("p", { class: "hint" }, "Since the start: the last 200 of each node."), body)
  watch(
    context,
    body,
    (signal) => get<Nodes<Refusals>>("refused", {}, signal),
    ({ nodes }) => [
      ...silent(nodes),
      card(
        "Credentials, origins and hosts",
        table(
          "Refused clients",
          [
            ...nodeColumn(nodes),
            { title: "Why", cell: (each: Refusals["clients"][number]) => each.message },
            { title: "Times", cell: (each) => count(each.count), number: true },
            { title: "First", cell: (each) => time(each.first) },
            { title: "Last", cell: (each) => time(each.last) },
          ],
          rowsOf(nodes, ({ clients }) => clients).sort((one, other) => other.last.localeCompare(one.last)),
          "Nobody was refused.",
        ),
      ),
      card(
        "Edits and messages of sessions",
        table(
          "Refused edits",
          [
            ...nodeColumn(nodes),
            { title: "At", cell: (each: Refusals["sessions"][number]) => time(each.at) },
            { title: "What", cell: (each) => each.kind },
            { title: "Where", cell: (each) => each.place },
            { title: "User", cell: (each) => each.userId ?? "nobody" },
            { title: "Why", cell: (each) => each.reason },
          ],
          rowsOf(nodes, ({ sessions }) => sessions).sort((one, other) => other.at.localeCompare(one.at)),
          "Nothing was refused.",
        ),
      ),
    ],
  )
}
