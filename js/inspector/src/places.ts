/** What the address of the page says: a view, and what it shows. */

export interface Place {
  project: string
  view: string
  /** Collection and id, for views that show one. */
  parts: string[]
  query: URLSearchParams
}

/** Whether it names a place. Others are the link that signs in, and elements of the page. */
export const isPlace = (hash: string): boolean => hash === "" || hash.startsWith("#/")

/** Reads `#/PROJECT/VIEW/…?…`. Names need no escapes, but a person may type anything. */
export function readPlace(hash: string, project: string): Place {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?")
  const [named, view, ...parts] = path.split("/").filter(Boolean).map(decoded)
  return { project: named ?? project, view: view ?? "overview", parts, query: new URLSearchParams(query) }
}

export function placeOf(project: string, view: string, parts: string[] = [], query: Record<string, string> = {}): string {
  const asked = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== "")).toString()
  return `#/${[project, view, ...parts].map(encodeURIComponent).join("/")}${asked ? `?${asked}` : ""}`
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}
