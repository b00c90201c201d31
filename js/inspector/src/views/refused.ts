/** Who was refused lately, and why. */
import { get } from "../api.js"
import { card, count, h, table, time } from "../dom.js"
import { watch, type View } from "../view.js"

interface Refusals {
  clients: { message: string; first: string; last: string; count: number }[]
  sessions: { at: string; kind: string; place: string; userId: string | null; reason: string }[]
}

export const refused: View = (context, main) => {
  const body = h("div")
  main.append(h("h1", {}, "Refused"), h("p", { class: "hint" }, "On this node, since its start: the last 200 of each."), body)
  watch(
    context,
    body,
    (signal) => get<Refusals>("refused", {}, signal),
    ({ clients, sessions }) => [
      card(
        "Credentials, origins and hosts",
        table(
          "Refused clients",
          [
            { title: "Why", cell: (each) => each.message },
            { title: "Times", cell: (each) => count(each.count), number: true },
            { title: "First", cell: (each) => time(each.first) },
            { title: "Last", cell: (each) => time(each.last) },
          ],
          clients,
          "Nobody was refused.",
        ),
      ),
      card(
        "Edits and messages of sessions",
        table(
          "Refused edits",
          [
            { title: "At", cell: (each) => time(each.at) },
            { title: "What", cell: (each) => each.kind },
            { title: "Where", cell: (each) => each.place },
            { title: "User", cell: (each) => each.userId ?? "nobody" },
            { title: "Why", cell: (each) => each.reason },
          ],
          sessions,
          "Nothing was refused.",
        ),
      ),
    ],
  )
}
