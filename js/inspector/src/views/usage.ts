/** What each project uses. */
import { get, type Usage } from "../api.js"
import { card, h, link, table } from "../dom.js"
import { bytes, count, seconds } from "../numbers.js"
import { placeOf } from "../places.js"
import { watch, type View } from "../view.js"

export const usage: View = (context, main) => {
  const body = h("div")
  main.append(
    h("h1", {}, "Usage"),
    h("p", { class: "hint" }, "CPU seconds, and bytes over WebSockets, of all nodes since they began to serve; bytes as stored in the record, at most a minute old."),
    body,
  )
  const cpu = ({ used }: Usage): number => Object.values(used.cpu).reduce((sum, each) => sum + each, 0)
  const stored = ({ stored: kept }: Usage): number => (kept ? kept.entities + kept.events + kept.documents + kept.history : 0)
  watch(
    context,
    body,
    (signal) => get<{ projects: Usage[]; count: number }>("usage", {}, signal),
    ({ projects, count: all }) => [
      card(
        "Projects",
        table(
          "Usage",
          [
            { title: "Project", cell: (each: Usage) => (each.name === "" ? "not signed in" : link(placeOf(each.name, "rows"), each.name)) },
            { title: "CPU", cell: (each) => seconds(cpu(each)), number: true },
            { title: "of users", cell: (each) => seconds(each.used.cpu["user"] ?? 0), number: true },
            { title: "of addresses", cell: (each) => seconds(each.used.cpu["address"] ?? 0), number: true },
            { title: "of the server", cell: (each) => seconds(each.used.cpu["server"] ?? 0), number: true },
            { title: "Received", cell: (each) => bytes(each.used.received), number: true },
            { title: "Sent", cell: (each) => bytes(each.used.sent), number: true },
            { title: "Stored", cell: (each) => bytes(stored(each)), number: true },
            { title: "Entities", cell: (each) => bytes(each.stored?.entities ?? 0), number: true },
            { title: "Events", cell: (each) => bytes(each.stored?.events ?? 0), number: true },
            { title: "Documents", cell: (each) => bytes(each.stored?.documents ?? 0), number: true },
            { title: "History", cell: (each) => bytes(each.stored?.history ?? 0), number: true },
          ],
          projects,
        ),
        projects.length < all && h("p", { class: "hint" }, `The ${count(projects.length)} of ${count(all)} projects that use most.`),
      ),
    ],
  )
}
