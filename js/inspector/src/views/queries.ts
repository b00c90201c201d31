/** Live queries, and what they have cost. */
import { get, type LiveQuery, type Nodes } from "../api.js"
import { card, h, nodeColumn, rowsOf, short, silent, sumOf, table } from "../dom.js"
import { count, seconds } from "../numbers.js"
import { watch, type View } from "../view.js"

const MOST = 500

export const queries: View = (context, main) => {
  const body = h("div")
  main.append(
    h("h1", {}, "Live queries"),
    h("p", { class: "hint" }, "The most expensive first. Identical queries of a node are shared: they cost once."),
    body,
  )
  watch(
    context,
    body,
    (signal) => get<Nodes<{ queries: LiveQuery[]; count: number }>>("queries", { limit: MOST }, signal),
    ({ nodes }) => [
      ...silent(nodes),
      card(
        `${count(sumOf(nodes))} open`,
        table(
          "Live queries",
          [
            ...nodeColumn(nodes),
            { title: "Project", cell: (each: LiveQuery) => each.project },
            { title: "Collection", cell: (each) => each.collection },
            { title: "Query", cell: (each) => h("code", { title: JSON.stringify(each.query) }, short(each.query, 100)) },
            { title: "Watchers", cell: (each) => count(each.watchers), number: true },
            { title: "Rows held", cell: (each) => count(each.rows), number: true },
            { title: "Events", cell: (each) => count(each.events), number: true },
            { title: "Steps", cell: (each) => count(each.steps), number: true },
            { title: "Matching", cell: (each) => seconds(each.seconds), number: true },
            { title: "Reads", cell: (each) => `${count(each.reads)} in ${seconds(each.readSeconds)}`, number: true },
          ],
          rowsOf(nodes, ({ queries: listed }) => listed).sort((one, other) => other.seconds + other.readSeconds - one.seconds - one.readSeconds),
          "No live query is open.",
        ),
      ),
    ],
  )
}
