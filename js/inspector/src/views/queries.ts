/** Live queries, and what they have cost. */
import { get, type LiveQuery } from "../api.js"
import { card, count, h, seconds, short, table } from "../dom.js"
import { watch, type View } from "../view.js"

const MOST = 500

export const queries: View = (context, main) => {
  const body = h("div")
  main.append(
    h("h1", {}, "Live queries"),
    h("p", { class: "hint" }, "Those of this node, the most expensive first. Identical queries are shared: they cost once."),
    body,
  )
  watch(
    context,
    body,
    (signal) => get<{ queries: LiveQuery[]; count: number }>("queries", { limit: MOST }, signal),
    (found) => [
      card(
        `${count(found.count)} open`,
        table(
          "Live queries",
          [
            { title: "Project", cell: (each) => each.project },
            { title: "Collection", cell: (each) => each.collection },
            { title: "Query", cell: (each) => h("code", { title: JSON.stringify(each.query) }, short(each.query, 100)) },
            { title: "Watchers", cell: (each) => count(each.watchers), number: true },
            { title: "Rows held", cell: (each) => count(each.rows), number: true },
            { title: "Events", cell: (each) => count(each.events), number: true },
            { title: "Steps", cell: (each) => count(each.steps), number: true },
            { title: "Matching", cell: (each) => seconds(each.seconds), number: true },
            { title: "Reads", cell: (each) => `${count(each.reads)} in ${seconds(each.readSeconds)}`, number: true },
          ],
          [...found.queries].sort((one, other) => other.seconds + other.readSeconds - one.seconds - one.readSeconds),
          "No live query is open.",
        ),
      ),
    ],
  )
}
