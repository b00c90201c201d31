/** The user of this window, and the other people. */

import type { Kind } from "./kinds"

export interface User {
  name: string
  /** Six hexadecimal digits, which every editor binding accepts. */
  color: string
  colorLight: string
}

export interface Person extends User {
  /** One per open window, so that two windows of one browser are two people. */
  window: string
  tab: Kind
  me: boolean
}

const COLOURS = ["#6d5ef6", "#e0562b", "#0b8f6a", "#c2288f", "#1f7ae0", "#a86a00", "#7a3fb5", "#c4314b"]
const QUALITIES = ["Swift", "Calm", "Bright", "Clever", "Gentle", "Merry", "Bold", "Quiet", "Lucky", "Sunny"]
const ANIMALS = ["Otter", "Heron", "Fox", "Lynx", "Wren", "Badger", "Hare", "Falcon", "Seal", "Robin"]

const NAME_KEY = "collab.name"

const any = <T>(items: readonly T[]): T => items[Math.floor(Math.random() * items.length)] as T

export const invent = (): string => `${any(QUALITIES)} ${any(ANIMALS)}`

export const makeUser = (name: string, color: string): User => ({ name, color, colorLight: `${color}33` })

/** This window's user; the name survives a reload, a second window gets its own. */
export function myself(): User {
  return makeUser(sessionStorage.getItem(NAME_KEY) ?? invent(), any(COLOURS))
}

export function rememberName(name: string): void {
  sessionStorage.setItem(NAME_KEY, name)
}

/** A colour that nobody here uses yet, or mine if all are taken. */
export function freeColour(mine: string, taken: readonly string[]): string {
  if (!taken.includes(mine)) return mine
  return COLOURS.find((colour) => !taken.includes(colour)) ?? mine
}

export function initials(name: string): string {
  const words = name.trim().split(/\s+/)
  const letters = words.length > 1 ? [words[0], words.at(-1)] : [words[0]]
  return letters.map((word) => [...(word ?? "")][0] ?? "").join("").toUpperCase() || "?"
}
