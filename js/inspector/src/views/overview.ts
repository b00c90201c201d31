/** The server at a glance, node by node. */
import { get, type Health, type Overview, type Projects } from "../api.js"
import { button, card, facts, h, link, reason, silent, table, time, toast } from "../dom.js"
import { bytes, count } from "../numbers.js"
import { placeOf } from "../places.js"
import { watch, type Context, type View } from "../view.js"

export const overview: View = (context, main) => {
  const body = h("div")
  const projects = h("div")
  main.append(body, projects)
  showProjects(context, projects, context.projects)
  watch(
    context,
    body,
    (signal) => get<Overview>("overview", {}, signal),
    (found) => [
      h("h1", {}, "Overview"),
      ...silent(found.nodes),
      ...found.nodes.flatMap(({ node, found: health }) => (health === null ? [] : nodeCards(health, found, found.nodes.length > 1 ? node : null))),
    ],
  )
}

/** One page of the projects, by name. */
function showProjects(context: Context, place: HTMLElement, { projects, more, next }: Projects): void {
  const turn = async (): Promise<void> => {
    try {
      showProjects(context, place, await get<Projects>("projects", { after: next ?? "" }, context.signal))
    } catch (error) {
      if (!context.signal.aborted) toast(reason(error), true)
    }
  }
  place.replaceChildren(
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
        projects,
      ),
      more && h("p", { class: "hint" }, "These projects have too many collections to count all of them."),
      next !== null && button("Next", turn),
    ),
  )
}

function nodeCards(health: Health, { record, historyDays }: Overview, node: number | null): HTMLElement[] {
  const errors = Object.entries(health.errors)
  return [
    ...(health.unready === null ? [] : [h("p", { class: "bad", role: "alert" }, `This server should get no traffic: ${health.unready}.`)]),
    ...(health.isOpen ? [h("p", { class: "busy" }, "No credentials are configured: who can connect may read and write everything.")] : []),
    card(
      node === null ? "Server" : `Node ${node}`,
      facts([
        ["Version", health.version],
        ["Serving since", time(health.since)],
        ["Record", record],
        ["History", historyDays ? `${historyDays} days` : "not kept"],
        ["Pages that may connect", health.allowedOrigins.join(", ") || "its own"],
        ["Received", bytes(health.bytesIn)],
        ["Sent", bytes(health.bytesOut)],
        ["Errors told to clients", errors.map(([code, times]) => `${code}: ${count(times)}`).join(", ") || "none"],
      ]),
      h(
        "ul",
        { class: "gauges" },
        ...health.gauges.map(({ name, about, value }) =>
          h("li", { title: name }, h("b", {}, name.includes("bytes") ? bytes(value) : count(value)), h("span", {}, about.replace(/\.$/, ""))),
        ),
      ),
    ),
  ]
}
