/** The server at a glance. */
import { get, type Overview } from "../api.js"
import { bytes, card, count, h, link, table, time } from "../dom.js"
import { placeOf } from "../places.js"
import { watch, type View } from "../view.js"

export const overview: View = (context, main) => {
  watch(
    context,
    main,
    (signal) => get<Overview>("overview", {}, signal),
    (found) => [
      h("h1", {}, "Overview"),
      found.unready && h("p", { class: "bad", role: "alert" }, `This server should get no traffic: ${found.unready}.`),
      found.isOpen && h("p", { class: "busy" }, "No credentials are configured: who can connect may read and write everything."),
      card(
        "Server",
        h(
          "dl",
          {},
          ...facts([
            ["Version", found.version],
            ["Node", found.node === null || found.node === 0 ? "alone" : String(found.node)],
            ["Serving since", time(found.since)],
            ["Record", found.record],
            ["History", found.historyDays ? `${found.historyDays} days` : "not kept"],
            ["Pages that may connect", found.allowedOrigins.join(", ") || "its own"],
            ["Received", bytes(found.bytesIn)],
            ["Sent", bytes(found.bytesOut)],
          ]),
        ),
      ),
      card(
        "Now",
        h(
          "ul",
          { class: "gauges" },
          ...found.gauges.map(({ name, about, value }) =>
            h("li", { title: name }, h("b", {}, name.includes("bytes") ? bytes(value) : count(value)), h("span", {}, about.replace(/\.$/, ""))),
          ),
        ),
      ),
      card(
        "Projects",
        table(
          "Projects",
          [
            { title: "Project", cell: ({ name }) => link(placeOf(name, "rows"), name) },
            { title: "Collections", cell: ({ collections }) => count(collections.length), number: true },
            { title: "Entities", cell: ({ collections }) => count(collections.reduce((sum, { size }) => sum + size, 0)), number: true },
            { title: "Events so far", cell: ({ position }) => count(position), number: true },
          ],
          context.projects,
        ),
      ),
      card(
        "Errors told to clients",
        table(
          "Errors",
          [
            { title: "Code", cell: ([code]) => code },
            { title: "Times", cell: ([, times]) => count(times), number: true },
          ],
          Object.entries(found.errors),
          "None since the start.",
        ),
      ),
    ].filter((node): node is HTMLElement => node instanceof Node),
  )
}

export const facts = (pairs: [string, string | Node][]): HTMLElement[] =>
  pairs.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))
