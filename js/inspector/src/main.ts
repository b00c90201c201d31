/** The page: its frame, and which view is in it. */
import { LumenizeClient } from "@lumenize/client"

import { get, post, type Project, type Projects } from "./api.js"
import { h, reason, toast } from "./dom.js"
import { isPlace, placeOf, readPlace, type Place } from "./places.js"
import "./style.css"
import type { View } from "./view.js"
import { events } from "./views/events.js"
import { overview } from "./views/overview.js"
import { queries } from "./views/queries.js"
import { quarantine } from "./views/quarantine.js"
import { refused } from "./views/refused.js"
import { row } from "./views/row.js"
import { rows } from "./views/rows.js"
import { sessions } from "./views/sessions.js"
import { usage } from "./views/usage.js"
import { webhooks } from "./views/webhooks.js"

const VIEWS: Record<string, [string, View]> = {
  overview: ["Overview", overview],
  rows: ["Data", rows],
  sessions: ["Sessions", sessions],
  queries: ["Live queries", queries],
  events: ["Events", events],
  webhooks: ["Webhooks", webhooks],
  refused: ["Refused", refused],
  quarantine: ["Quarantine", quarantine],
  usage: ["Usage", usage],
}
const viewNamed = (name: string): [string, View] => VIEWS[Object.hasOwn(VIEWS, name) ? name : "overview"]!

const main = document.querySelector<HTMLElement>("#main")!
const nav = document.querySelector<HTMLElement>("#views")!
const select = document.querySelector<HTMLSelectElement>("#project")!

/** The option that leads to the list of all projects: no project has this name. */
const ALL = ""

let projects: Projects = { projects: [], more: false, next: null }
let leaving = new AbortController()
let client: { project: string; client: LumenizeClient } | null = null

/** The client of a project. There is one at a time. */
function live(project: string): LumenizeClient {
  if (client?.project === project) return client.client
  void client?.client.disconnect()
  const made = new LumenizeClient({
    url: new URL("..", location.href.replace(/[#?].*/, "")).href.replace(/\/$/, ""),
    token: async () => (await post<{ token: string }>("ticket", { project })).token,
  })
  made.onError((error) => toast(error.message, true))
  client = { project, client: made }
  made.connect().catch((error: unknown) => toast(reason(error), true))
  return made
}

function viewOf({ view, parts }: Place): View {
  if (view === "rows" && parts.length > 1) return row
  return viewNamed(view)[1]
}

async function show(): Promise<void> {
  leaving.abort()
  leaving = new AbortController()
  const { signal } = leaving
  const place = readPlace(location.hash, "default")
  let project: Project = { name: place.project, position: 0, collections: [] }
  try {
    const [all, mine] = await Promise.all([get<Projects>("projects"), get<Projects>("projects", { project: place.project })])
    projects = all
    project = mine.projects[0] ?? project
  } catch (error) {
    toast(reason(error), true)
  }
  if (signal.aborted) return
  const names = new Set([...projects.projects.map(({ name }) => name), place.project])
  const all = projects.next === null ? [] : [h("option", { value: ALL }, "All projects…")]
  select.replaceChildren(...[...names].sort().map((name) => h("option", { value: name }, name)), ...all)
  select.value = place.project
  nav.replaceChildren(
    ...Object.entries(VIEWS).map(([name, [title]]) =>
      h("a", { href: placeOf(place.project, name), "aria-current": name === place.view ? "page" : undefined }, title),
    ),
  )
  // scrollIntoView would move the place from which Tab goes on
  nav.scrollLeft = (nav.querySelector<HTMLElement>("[aria-current]")?.offsetLeft ?? 0) - 40
  document.title = `${viewNamed(place.view)[0]} · Inspector`
  main.replaceChildren()
  viewOf(place)({ place, project, projects, signal, live: () => live(place.project) }, main)
}

select.addEventListener("change", () => {
  const { project, view } = readPlace(location.hash, "default")
  if (select.value !== ALL) location.hash = placeOf(select.value, view)
  else if (view === "overview") select.value = project
  else location.hash = placeOf(project, "overview")
})
document.querySelector("#sign-out")!.addEventListener("click", () => {
  post("sign-out").then(
    () => location.reload(),
    (error: unknown) => toast(reason(error), true),
  )
})
// what names no place leads to no other view: "Skip to the content", and a link that signs in, which must not stay here
let shown = ""
function go(): void {
  if (isPlace(location.hash)) {
    shown = location.hash
    void show()
  } else history.replaceState(null, "", location.pathname + shown)
}
window.addEventListener("hashchange", go)
if (!isPlace(location.hash)) history.replaceState(null, "", location.pathname)
go()
