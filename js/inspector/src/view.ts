/** What a view gets, and how it keeps itself up to date. */
import type { LumenizeClient } from "@lumenize/client"

import type { Project, Projects } from "./api.js"
import { failure, h } from "./dom.js"
import type { Place } from "./places.js"

export interface Context {
  place: Place
  /** The project of the place. */
  project: Project
  /** The first page of all projects. */
  projects: Projects
  /** Aborted when the view is left. */
  signal: AbortSignal
  /** The project's client, connected when it is first used. */
  live: () => LumenizeClient
}

/** Fills `main`. What it starts ends with `signal`. */
export type View = (context: Context, main: HTMLElement) => void

const AGAIN = 3000 // milliseconds between two looks

/** Shows what `look` makes, now and every three seconds while the page is visible. Returns a function that looks again. */
export function watch<T>(
  { signal }: Context,
  place: HTMLElement,
  look: (signal: AbortSignal) => Promise<T>,
  show: (found: T) => Node[],
): () => Promise<void> {
  let shown = ""
  let looking = false
  const again = async (): Promise<void> => {
    if (looking) return
    looking = true
    try {
      const found = await look(signal)
      const text = JSON.stringify(found)
      // what has the focus, or is selected, stays as it is while nothing changes
      if (signal.aborted || text === shown) return
      const busy = document.activeElement instanceof HTMLElement && place.contains(document.activeElement) && document.activeElement.dataset["key"]
      place.replaceChildren(...show(found))
      shown = text
      if (busy) place.querySelector<HTMLElement>(`[data-key="${CSS.escape(busy)}"]`)?.focus()
    } catch (error) {
      if (signal.aborted) return
      shown = ""
      place.replaceChildren(failure(error))
    } finally {
      looking = false
    }
  }
  place.replaceChildren(h("p", { class: "empty" }, "Loading…"))
  void again()
  const timer = setInterval(() => {
    if (!document.hidden) void again()
  }, AGAIN)
  signal.addEventListener("abort", () => clearInterval(timer))
  return again
}
