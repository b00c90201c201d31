/** Events of a project as they happen. */
import type { EntityEvent } from "@lumenize/client"

import { get, type Projects } from "../api.js"
import { button, h, link, short, table, time } from "../dom.js"
import { placeOf } from "../places.js"
import { watch, type View } from "../view.js"

const MOST = 200
const COLLECTIONS = 100

export const events: View = (context, main) => {
  const { place, signal } = context
  const about = h("div")
  const list = h("div")
  const seen: EntityEvent[] = []
  let paused = false
  let due = false
  const draw = (): void => {
    due = false
    list.replaceChildren(
      table(
        "Events",
        [
          { title: "At", cell: (event: EntityEvent) => time(event.at) },
          { title: "What", cell: (event) => event.type },
          { title: "Entity", cell: (event) => link(placeOf(place.project, "rows", [event.collection, event.id]), `${event.collection}/${event.id}`) },
          { title: "Version", cell: (event) => String(event.version), number: true },
          { title: "User", cell: (event) => event.userId ?? "nobody" },
          { title: "Changes", cell: (event) => h("code", {}, short(Object.fromEntries(Object.entries(event.changes).map(([field, change]) => [field, "to" in change ? change.to : change])), 120)) },
          { title: "Conflicts", cell: (event) => (event.conflicts.length > 0 ? event.conflicts.map(({ field }) => field).join(", ") : "") },
        ],
        seen,
        "Nothing has happened since this page was opened.",
      ),
    )
  }
  const hear = (event: EntityEvent): void => {
    seen.unshift(event)
    seen.length = Math.min(seen.length, MOST)
    if (!due && !paused) {
      due = true
      requestAnimationFrame(draw)
    }
  }
  const pause = button("Pause", () => {
    paused = !paused
    pause.textContent = paused ? "Continue" : "Pause"
    if (!paused) draw()
  })
  main.append(
    h("h1", {}, "Events"),
    about,
    h("div", { class: "actions" }, pause),
    list,
  )
  draw()

  const heard = new Set<string>()
  const ends: (() => void)[] = []
  signal.addEventListener("abort", () => ends.forEach((end) => end()))
  watch(
    context,
    about,
    async () => {
      const found = await get<Projects>("projects", { project: place.project }, signal)
      const names = found.projects.flatMap(({ collections }) => collections.map(({ name }) => name))
      const news = names.filter((name) => !heard.has(name)).slice(0, COLLECTIONS - heard.size)
      if (news.length === 0) return [...heard]
      const batch = context.live().createSubscriptionBatch()
      for (const name of news) batch.add(name, "*", (event) => hear(event as EntityEvent))
      const end = await batch.execute()
      if (signal.aborted) end()
      else ends.push(end)
      for (const name of news) heard.add(name)
      return [...heard]
    },
    (found) => [
      h(
        "p",
        { class: "hint" },
        `The last ${MOST}, of ${found.length} collections${found.length > 0 ? `: ${found.slice(0, 10).join(", ")}` : ""}${found.length > 10 ? ", …" : ""}.`,
      ),
    ],
  )
}
