/** Elements, tables, and how times and values are written. */
import type { Nodes } from "./api.js"

type Child = Node | string | number | null | undefined | false

type Props = Record<string, unknown>

/** Makes an element. Members that begin with `on` are listeners; the others are attributes, `true` an empty one. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Props = {},
  ...children: (Child | Child[])[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value as EventListener)
    else if (name === "value" && "value" in element) (element as { value: unknown }).value = value
    else if (value !== false && value !== undefined && value !== null)
      element.setAttribute(name, value === true ? "" : String(value))
  }
  element.append(...(children.flat().filter((child) => child !== null && child !== undefined && child !== false) as (Node | string)[]).map((child) => (child instanceof Node ? child : String(child))))
  return element
}

export interface Column<T> {
  title: string
  cell: (row: T) => Child | Child[]
  /** Whether the column holds numbers. */
  number?: boolean
}

/** A table; on a phone each row is a card. */
export function table<T>(label: string, columns: Column<T>[], rows: readonly T[], empty = "Nothing here."): HTMLElement {
  if (rows.length === 0) return h("p", { class: "empty" }, empty)
  const kind = ({ number }: Column<T>): Props => (number ? { class: "number" } : {})
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": label },
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, ...columns.map((column) => h("th", { scope: "col", ...kind(column) }, column.title)))),
      h(
        "tbody",
        {},
        ...rows.map((row) =>
          h(
            "tr",
            {},
            ...columns.map((column) => h("td", { ...kind(column), "data-label": column.title }, ...[column.cell(row)].flat())),
          ),
        ),
      ),
    ),
  )
}

/** Says which nodes did not answer. */
export const silent = (nodes: readonly { node: number; failure: string | null }[]): HTMLElement[] =>
  nodes.flatMap(({ node, failure }) => (failure === null ? [] : [h("p", { class: "bad", role: "alert" }, `Node ${node} shows nothing: ${failure}`)]))

/** A column that names the node of a row, if there are several. */
export const nodeColumn = (nodes: readonly unknown[]): Column<{ node: number }>[] =>
  nodes.length > 1 ? [{ title: "Node", cell: ({ node }) => String(node) }] : []

/** The rows of all nodes that answered, each with the number of its node. */
export const rowsOf = <T, R>(nodes: Nodes<T>["nodes"], rows: (found: T) => R[]): (R & { node: number })[] =>
  nodes.flatMap(({ node, found }) => (found === null ? [] : rows(found).map((row) => ({ node, ...row }))))

/** What all nodes that answered have together. */
export const sumOf = (nodes: Nodes<{ count: number }>["nodes"]): number => nodes.reduce((sum, { found }) => sum + (found?.count ?? 0), 0)

/** Names and values. */
export const facts = (pairs: [string, string | Node][]): HTMLElement =>
  h("dl", {}, ...pairs.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))))

/** A section with a heading. */
export const card = (title: string, ...children: (Child | Child[])[]): HTMLElement =>
  h("section", { class: "card" }, h("h2", {}, title), ...children)

export const button = (text: string, act: () => unknown, kind = ""): HTMLButtonElement =>
  h("button", { type: "button", class: kind, onclick: () => void act() }, text)

export const link = (href: string, ...children: Child[]): HTMLAnchorElement => h("a", { href }, ...children)

/** A time of the server as `14:03:05`, with the date if it is not today. */
export function time(at: string): HTMLElement {
  const date = new Date(at)
  const today = date.toDateString() === new Date().toDateString()
  const text = today ? date.toLocaleTimeString("en-GB") : `${date.toISOString().slice(0, 10)} ${date.toLocaleTimeString("en-GB")}`
  return h("time", { datetime: at, title: at }, text)
}

/** A value as one short line of JSON. */
export function short(value: unknown, most = 80): string {
  const text = typeof value === "string" ? value : JSON.stringify(value) ?? ""
  return text.length > most ? `${text.slice(0, most - 1)}…` : text
}

/** Shows a message for a while. */
export function toast(message: string, bad = false): void {
  const place = document.querySelector("#toast")!
  const shown = h("p", { class: bad ? "bad" : "" }, message)
  place.replaceChildren(shown)
  setTimeout(() => shown.remove(), bad ? 12_000 : 4000)
}

export const reason = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** Says why something cannot be shown, in its place. */
export const failure = (error: unknown): HTMLElement => h("p", { class: "bad", role: "alert" }, reason(error))

/** Does something and says `done`, or why it failed. Returns whether it was done. */
export async function attempt(act: () => Promise<unknown>, done: string): Promise<boolean> {
  try {
    await act()
  } catch (error) {
    toast(reason(error), true)
    return false
  }
  toast(done)
  return true
}
