/** The user of this window. */

export interface Me {
  /** One per window, so that two windows of one browser are two people. */
  window: string
  name: string
  /** The `userId` of this user's writes: from the token, or the name if the server requires none. */
  userId: string
  /** Six hexadecimal digits, which every editor binding accepts. */
  color: string
}

const COLOURS = ["#5b4be0", "#c94a22", "#0b7d5c", "#c2288f", "#1a6bc7", "#8f5a00", "#8a3fc4", "#c4314b", "#3f6b1f", "#00707f", "#a33f6b"]
const QUALITIES = ["Swift", "Calm", "Bright", "Clever", "Gentle", "Merry", "Bold", "Quiet", "Lucky", "Sunny", "Brave", "Keen"]
const ANIMALS = ["Otter", "Heron", "Fox", "Lynx", "Wren", "Badger", "Hare", "Falcon", "Seal", "Robin", "Curlew", "Marten"]
const NAME_KEY = "collab.name"

const any = <T>(items: readonly T[]): T => items[Math.floor(Math.random() * items.length)] as T

/** The colour of a name. */
export function colourOf(name: string): string {
  let sum = 0
  for (const character of name) sum = (sum * 33 + (character.codePointAt(0) ?? 0)) % 9973
  return COLOURS[sum % COLOURS.length] as string
}

/** The token from signing in on the demo page. */
export function myToken(): string | null {
  return sessionStorage.getItem("collab.token")
}

/** The claims of a JSON web token about its user. */
function claims(token: string | null): { sub?: unknown; name?: unknown } {
  try {
    const payload = (token?.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/")
    const bytes = Uint8Array.from(atob(payload), (character) => character.charCodeAt(0))
    return JSON.parse(new TextDecoder().decode(bytes)) as { sub?: unknown; name?: unknown }
  } catch {
    return {}
  }
}

/** This window's user: from the token, or invented. The name survives a reload; a second window gets its own. */
export function myself(): Me {
  const window = crypto.getRandomValues(new Uint32Array(2)).join("-")
  const { sub, name: called } = claims(myToken())
  if (typeof sub === "string") {
    const name = typeof called === "string" ? called : sub
    return { window, name, userId: sub, color: colourOf(name) }
  }
  const name = sessionStorage.getItem(NAME_KEY) ?? `${any(QUALITIES)} ${any(ANIMALS)}`
  sessionStorage.setItem(NAME_KEY, name)
  return { window, name, userId: name, color: colourOf(name) }
}

/** Renames the user, unless a token gives the name. */
export function renamed(me: Me, name: string): Me {
  if (name === "" || myToken() !== null) return me
  sessionStorage.setItem(NAME_KEY, name)
  return { ...me, name, userId: name, color: colourOf(name) }
}

export function initials(name: string): string {
  const words = name.trim().split(/\s+/)
  const letters = words.length > 1 ? [words[0], words.at(-1)] : [words[0]]
  return letters.map((word) => [...(word ?? "")][0] ?? "").join("").toUpperCase() || "?"
}

/** A window of a person in a room, as these pages describe it. */
export interface Somebody extends Omit<Me, "userId"> {
  [member: string]: unknown
}

/** The windows in a room; mine first, the others by name. States of another form are omitted. */
export function readPeople(people: readonly { states: readonly Record<string, unknown>[] }[], me: Me): Somebody[] {
  const found = new Map<string, Somebody>()
  for (const { states } of people) {
    for (const state of states) {
      const { window, name, color } = state
      if (typeof window !== "string" || typeof name !== "string" || typeof color !== "string") continue
      if (/^#[0-9a-f]{6}$/i.test(color)) found.set(window, { ...state, window, name, color })
    }
  }
  return [...found.values()].sort(
    (a, b) => Number(b.window === me.window) - Number(a.window === me.window) || a.name.localeCompare(b.name),
  )
}
