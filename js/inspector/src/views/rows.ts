/** The rows of a collection, live, and a query for them. */
import { get, type Deleted } from "../api.js"
import { button, failure, h, link, reason, short, table, time, toast } from "../dom.js"
import { count } from "../numbers.js"
import { placeOf } from "../places.js"
import { PAGE, queryOf } from "../query.js"
import type { Context, View } from "../view.js"

type Row = Record<string, unknown> & { id: string; updatedAt?: string }

export const rows: View = (context, main) => {
  const { place, project: { collections } } = context
  const name = place.parts[0] ?? collections[0]?.name
  main.append(h("h1", {}, "Data"))
  main.append(
    h(
      "nav",
      { class: "tabs", "aria-label": "Collections" },
      ...collections.map((each) =>
        h(
          "a",
          { href: placeOf(place.project, "rows", [each.name]), "aria-current": each.name === name ? "page" : undefined },
          each.name,
          " ",
          h("small", {}, count(each.size)),
        ),
      ),
      h(
        "form",
        {
          class: "inline",
          onsubmit: (event: Event) => {
            event.preventDefault()
            const other = new FormData(event.target as HTMLFormElement).get("collection")
            if (other) location.hash = placeOf(place.project, "rows", [String(other)])
          },
        },
        h("input", { name: "collection", placeholder: "another collection", "aria-label": "Another collection", maxlength: 128 }),
      ),
    ),
  )
  if (name === undefined) {
    main.append(h("p", { class: "empty" }, "This project has no entities yet."))
    return
  }
  showCollection(context, main, name)
}

function showCollection(context: Context, main: HTMLElement, name: string): void {
  const { place, signal } = context
  const asked = (key: string): string => place.query.get(key) ?? ""
  const search = h("input", { name: "search", type: "search", placeholder: "words, \"a phrase\", -without", value: asked("search"), maxlength: 500 })
  const where = h("textarea", { name: "where", rows: 2, spellcheck: "false", placeholder: '{"status": "open"}' })
  where.value = asked("where")
  const order = h("input", { name: "orderBy", placeholder: "updatedAt desc", value: asked("orderBy"), spellcheck: "false" })
  const id = h("input", { name: "id", placeholder: "id", maxlength: 128, "aria-label": "Open or create by id" })
  const found = h("div", { "aria-live": "off" }, h("p", { class: "empty" }, "Loading…"))
  main.append(
    h(
      "form",
      {
        class: "query",
        onsubmit: (event: Event) => {
          event.preventDefault()
          location.hash = placeOf(place.project, "rows", [name], { search: search.value.trim(), where: where.value.trim(), orderBy: order.value.trim() })
        },
      },
      h("label", {}, "Search", search),
      h("label", {}, "Where, as JSON", where),
      h("label", {}, "Order", order),
      h("button", { type: "submit", class: "primary" }, "Query"),
    ),
    h(
      "form",
      {
        class: "inline",
        onsubmit: (event: Event) => {
          event.preventDefault()
          if (id.value.trim()) location.hash = placeOf(place.project, "rows", [name, id.value.trim()])
        },
      },
      id,
      h("button", { type: "submit" }, "Open by id"),
      button("New", () => create(context, name), "quiet"),
    ),
    found,
    deleted(context, name),
  )
  const failed = (error: unknown): void => found.replaceChildren(failure(error))
  let query: Record<string, unknown>
  try {
    query = queryOf(asked("search"), asked("where"), asked("orderBy"))
  } catch (error) {
    failed(error)
    return
  }
  const collection = context.live().collection<Row>(name)
  const more = pages(context, name, query)
  const unsubscribe = collection.subscribe(
    query,
    (first) => {
      found.replaceChildren(
        h("p", { class: "hint" }, first.length === PAGE ? `The first ${PAGE} rows, live.` : `${count(first.length)} rows, live.`),
        tableOf(context, name, first as Row[]),
        ...(first.length === PAGE ? [more] : []),
      )
    },
    { onError: failed },
  )
  unsubscribe.ready.catch(failed)
  signal.addEventListener("abort", () => unsubscribe())
}

/** The deleted entities of a collection, once somebody asks for them. */
function deleted({ place, signal }: Context, name: string): HTMLElement {
  const list = h("div")
  const read = async (after: string): Promise<void> => {
    try {
      const page = await get<{ deleted: Deleted[]; next: string | null }>("deleted", { project: place.project, collection: name, after }, signal)
      list.replaceChildren(
        table(
          `Deleted ${name}`,
          [
            { title: "id", cell: (each) => link(placeOf(place.project, "rows", [name, each.id]), each.id) },
            { title: "last version", cell: (each) => String(each.version) },
            { title: "deleted", cell: (each) => time(each.at) },
          ],
          page.deleted,
          after === "" ? "Nothing is deleted." : "No more.",
        ),
        ...(page.next === null ? [] : [button("More deleted", () => read(page.next ?? ""))]),
      )
    } catch (error) {
      if (!signal.aborted) list.replaceChildren(failure(error))
    }
  }
  const details = h("details", { class: "card" }, h("summary", {}, "Deleted entities"), list)
  details.addEventListener("toggle", () => {
    if (details.open) void read("")
  })
  return details
}

/** Adds the pages behind the first one, as they are when they are asked for. */
function pages(context: Context, name: string, query: Record<string, unknown>): HTMLElement {
  const place = h("div")
  const collection = context.live().collection<Row>(name)
  let after: string | undefined
  const more = button("More rows", async () => {
    more.disabled = true
    try {
      after ??= (await collection.findMany(query)).next
      const page = after === undefined ? [] : await collection.findMany({ ...query, after })
      if (context.signal.aborted) return
      after = "next" in page ? page.next : undefined
      more.before(tableOf(context, name, page as Row[]))
      if (after === undefined) more.remove()
    } catch (error) {
      toast(reason(error), true)
    } finally {
      more.disabled = false
    }
  })
  place.append(more)
  return place
}

function tableOf({ place }: Context, name: string, rows: readonly Row[]): HTMLElement {
  const fields = new Set<string>()
  for (const row of rows) for (const field of Object.keys(row)) if (!["id", "createdAt", "updatedAt"].includes(field)) fields.add(field)
  return table(
    `Rows of ${name}`,
    [
      { title: "id", cell: (row: Row) => link(placeOf(place.project, "rows", [name, row.id]), row.id) },
      ...[...fields].slice(0, 8).map((field) => ({ title: field, cell: (row: Row) => (Object.hasOwn(row, field) ? short(row[field]) : "") })),
      { title: "updated", cell: (row: Row) => (row.updatedAt ? time(row.updatedAt) : "") },
    ],
    rows,
    "No rows.",
  )
}

async function create(context: Context, name: string): Promise<void> {
  try {
    const made = await context.live().collection(name).create({})
    location.hash = placeOf(context.place.project, "rows", [name, made.id])
  } catch (error) {
    toast(reason(error), true)
  }
}
