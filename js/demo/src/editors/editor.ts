/** The interface between the page and an editor. */

import type { User } from "../people"
import type { Room } from "../session"

/** A button of the toolbar; `null` in a list of actions is a gap between two groups. */
export interface Action {
  icon: string
  title: string
  run: () => void
  active?: () => boolean
}

export interface CollabEditor {
  readonly actions: readonly (Action | null)[]
  focus: () => void
  setEditable: (editable: boolean) => void
  destroy: () => void
}

/** Mount an editor on a room; it calls `changed` when the toolbar's state may have changed. */
export type Mount = (parent: HTMLElement, room: Room, me: User, changed: () => void) => CollabEditor

export const PLACEHOLDER = "Write something…"

/** A remote caret with its owner's name, for the editors that let the page draw it. */
export function caret(user: { name?: unknown; color?: unknown }): HTMLElement {
  const element = document.createElement("span")
  const label = document.createElement("span")
  const color = typeof user.color === "string" ? user.color : "#888888"
  element.className = "caret"
  element.style.borderColor = color
  label.className = "caret-label"
  label.style.backgroundColor = color
  label.textContent = String(user.name ?? "")
  // Word joiners prevent a line break at the caret.
  element.append("\u2060", label, "\u2060")
  return element
}

export function selection(user: { color?: unknown }): { style: string; class: string } {
  return { class: "remote-selection", style: `background-color: ${String(user.color)}33` }
}

/**
 * Update people's names on existing carets.
 * All four bindings keep a caret's element while its owner stays, even if the name changes.
 */
export function followNames(parent: HTMLElement, { awareness }: Room): () => void {
  const known = new Map<number, string>()
  const update = (): void => {
    for (const [client, state] of awareness.getStates()) {
      const name = (state["user"] as Partial<User> | undefined)?.name
      if (typeof name !== "string") continue
      const before = known.get(client)
      known.set(client, name)
      if (before === undefined || before === name) continue
      for (const label of parent.querySelectorAll(".caret-label, .cm-ySelectionInfo, .ql-cursor-name"))
        if (label.textContent === before) label.textContent = name
    }
  }
  update()
  awareness.on("change", update)
  return () => awareness.off("change", update)
}
