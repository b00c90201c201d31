/** One entity: its fields, its document, its history, who is in it. */
import type { Collection } from "@lumenize/client"

import { get, type Makeup, type Person } from "../api.js"
import { attempt, button, card, facts, failure, h, link, reason, short, table, time, toast } from "../dom.js"
import { bytes, count } from "../numbers.js"
import { placeOf } from "../places.js"
import { watch, type Context, type View } from "../view.js"
import { history } from "./history.js"

type Row = Record<string, unknown> & { id: string; createdAt: string; updatedAt: string }

const TABS = { fields: "Fields", content: "Content", history: "History", document: "Document", presence: "Presence" }

export const row: View = (context, main) => {
  const { place } = context
  const [name = "", id = ""] = place.parts
  const tab = place.query.get("tab") ?? "fields"
  const body = h("div")
  main.append(
    h("p", { class: "crumbs" }, link(placeOf(place.project, "rows", [name]), name), " / "),
    h("h1", {}, id),
    h(
      "nav",
      { class: "tabs", "aria-label": "Parts" },
      ...Object.entries(TABS).map(([key, title]) =>
        h("a", { href: placeOf(place.project, "rows", [name, id], key === "fields" ? {} : { tab: key }), "aria-current": key === tab ? "page" : undefined }, title),
      ),
    ),
    body,
  )
  const asked = { project: place.project, collection: name, id }
  if (tab === "history") history(context, body, name, id)
  else if (tab === "content") void content(context, body, name, id)
  else if (tab === "document") watch(context, body, (signal) => get<Makeup>("document", asked, signal), makeup)
  else if (tab === "presence")
    watch(context, body, (signal) => get<{ count: number; people: Person[] }>("presence", asked, signal), ({ count: all, people }) => [presence(all, people)])
  else void fields(context, body, name, id)
}

async function fields(context: Context, body: HTMLElement, name: string, id: string): Promise<void> {
  const collection = context.live().collection<Record<string, unknown>>(name)
  let found: Row
  try {
    found = (await collection.findById(id)) as Row
  } catch (error) {
    if (!context.signal.aborted) missing(context, body, collection, id, error)
    return
  }
  if (context.signal.aborted) return
  const version = collection.seen(id)
  const { id: _, createdAt, updatedAt, ...data } = found
  const text = h("textarea", { class: "json", rows: 16, spellcheck: "false", "aria-label": "Fields as JSON" })
  text.value = JSON.stringify(data, null, 2)
  const news = h("p", { class: "busy", hidden: true, role: "status" })
  const reload = (): void => void (body.replaceChildren(), fields(context, body, name, id))
  body.replaceChildren(
    card(
      "Fields",
      facts([["Version", String(version ?? "?")], ["Created", time(createdAt)], ["Updated", time(updatedAt)]]),
      news,
      text,
      h(
        "div",
        { class: "actions" },
        button("Save", () => save(collection, id, data, text.value, version).then((done) => done && reload()), "primary"),
        button("Reload", reload),
        button("Delete", () => remove(collection, id).then((done) => done && reload()), "danger"),
      ),
    ),
  )
  const unsubscribe = collection.subscribe(id, (event) => {
    if (version === undefined || event.version <= version) return
    news.hidden = false
    news.textContent = `${event.userId ?? "Somebody"} ${event.type} it meanwhile (version ${event.version}). Saving would be refused where both wrote the same field.`
  })
  unsubscribe.ready.catch(() => undefined)
  context.signal.addEventListener("abort", () => unsubscribe())
}

/** There is no such entity now: it may be deleted, or never have been. */
function missing(context: Context, body: HTMLElement, collection: Collection, id: string, error: unknown): void {
  body.replaceChildren(
    card(
      "Not here",
      h("p", {}, reason(error)),
      h("p", { class: "hint" }, "If it was deleted, it can be restored with its history; if it never was, it can be created."),
      h(
        "div",
        { class: "actions" },
        button("Restore", () => attempt(() => collection.restore(id), "Restored.").then((done) => done && location.reload()), "primary"),
        button("Create", () => attempt(() => collection.create({ id }), "Created.").then((done) => done && location.reload())),
        link(placeOf(context.place.project, "rows", [collection.name, id], { tab: "history" }), "History"),
      ),
    ),
  )
}

async function save(collection: Collection, id: string, before: Record<string, unknown>, text: string, version: number | undefined): Promise<boolean> {
  let after: unknown
  try {
    after = JSON.parse(text)
  } catch (error) {
    toast(`This is not JSON: ${reason(error)}`, true)
    return false
  }
  if (typeof after !== "object" || after === null || Array.isArray(after)) {
    toast("Fields are an object: { … }", true)
    return false
  }
  const now = after as Record<string, unknown>
  const changes = Object.fromEntries(Object.entries(now).filter(([field, value]) => !Object.hasOwn(before, field) || JSON.stringify(value) !== JSON.stringify(before[field])))
  const unset = Object.keys(before).filter((field) => !Object.hasOwn(now, field))
  if (Object.keys(changes).length + unset.length === 0) {
    toast("Nothing has changed.")
    return false
  }
  return attempt(
    () => collection.update(id, changes, { unset, onConflict: "reject", ...(version !== undefined && { version }) }),
    "Saved.",
  )
}

async function remove(collection: Collection, id: string): Promise<boolean> {
  if (!confirm(`Delete ${collection.name}/${id}? Its history is kept, and it can be restored.`)) return false
  return attempt(() => collection.delete(id), "Deleted.")
}

async function content(context: Context, body: HTMLElement, name: string, id: string): Promise<void> {
  body.replaceChildren(h("p", { class: "empty" }, "Loading…"))
  try {
    const found = await context.live().collection(name).findById(id, { content: true })
    if (context.signal.aborted) return
    const roots = Object.entries(found.content ?? {})
    body.replaceChildren(
      ...(roots.length === 0 ? [h("p", { class: "empty" }, "The document has no content besides its fields.")] : []),
      ...roots.map(([root, value]) => card(root, h("pre", { tabindex: 0 }, typeof value === "string" ? value : JSON.stringify(value, null, 2)))),
    )
  } catch (error) {
    if (!context.signal.aborted) body.replaceChildren(failure(error))
  }
}

function makeup(found: Makeup): Node[] {
  const made = found.makeup
  const dead = made.elements ? Math.round((100 * made.deleted) / made.elements) : 0
  return [
    card(
      "Size",
      facts([
        ["Snapshot", bytes(found.snapshotBytes)],
        ["Log behind it", `${bytes(found.logBytes)}, rows: ${count(found.logRows)}`],
        ["Index of the gate", bytes(found.indexBytes)],
        ["Content", bytes(made.contentBytes)],
        ["Elements ever written", count(made.elements)],
        ["Tombstones", `${count(made.deleted)} (${dead} %)`],
        ["Garbage collected", count(made.collected)],
        ["Parts of its encoding", count(made.structs)],
        ["Client ids", count(made.clientCount)],
        ["Quarantined edits", count(found.quarantined)],
        ["Open on this node", found.openHere ? `yes, sessions: ${count(found.sessions)}` : "no"],
      ]),
    ),
    card(
      "Who wrote it",
      h("p", { class: "hint" }, "Users are known for edits since the last snapshot."),
      table(
        "Clients",
        [
          { title: "Client id", cell: (each) => String(each.client) },
          { title: "Users", cell: (each) => each.users.map((user) => user ?? "nobody").join(", ") || "–" },
          { title: "Elements", cell: (each) => count(each.elements), number: true },
          { title: "Tombstones", cell: (each) => count(each.deleted), number: true },
          { title: "Content", cell: (each) => bytes(each.contentBytes), number: true },
          { title: "Last edit", cell: (each) => (each.lastAt === null ? "" : time(new Date(each.lastAt * 1000).toISOString())) },
        ],
        made.clients,
      ),
    ),
    card(
      "Last edits",
      table(
        "Log",
        [
          { title: "Row", cell: (each) => String(each.row) },
          { title: "At", cell: (each) => time(each.at) },
          { title: "User", cell: (each) => each.userId ?? "nobody" },
          { title: "Size", cell: (each) => bytes(each.bytes), number: true },
        ],
        found.lastRows,
        "None since the last snapshot.",
      ),
    ),
  ]
}

function presence(all: number, people: readonly Person[]): HTMLElement {
  return card(
    `${count(all)} here`,
    table(
      "People",
      [
        { title: "User", cell: (each) => each.userId ?? "nobody" },
        { title: "Name", cell: (each) => each.name ?? "" },
        { title: "Clients", cell: (each) => count(each.states?.length ?? 1), number: true },
        { title: "State", cell: (each) => h("code", {}, short(each.state ?? {}, 160)) },
      ],
      people,
      "Nobody is in this document.",
    ),
  )
}
