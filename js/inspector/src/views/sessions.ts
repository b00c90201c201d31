/** Who is connected, which documents are open, and who is in them. */
import { get, post, type Nodes, type OpenRoom, type Session } from "../api.js"
import { attempt, button, card, h, link, nodeColumn, rowsOf, silent, sumOf, table, time } from "../dom.js"
import { count } from "../numbers.js"
import { placeOf } from "../places.js"
import { watch, type View } from "../view.js"

const MOST = 200

export const sessions: View = (context, main) => {
  const { project } = context.place
  const connected = h("div")
  const open = h("div")
  const wanted = context.place.query.get("user") ?? ""
  const user = h("input", { name: "user", placeholder: "all users", "aria-label": "User id", maxlength: 255, value: wanted })
  main.append(
    h("h1", {}, "Sessions"),
    h(
      "form",
      {
        class: "inline",
        onsubmit: (event: Event) => {
          event.preventDefault()
          location.hash = placeOf(project, "sessions", [], { user: user.value.trim() })
        },
      },
      user,
      h("button", { type: "submit" }, "Filter"),
    ),
    connected,
    open,
  )
  const again = watch(
    context,
    connected,
    async (signal) => (await get<{ sessions: Session[] }>("sessions", { project, limit: MOST, ...(wanted && { userId: wanted }) }, signal)).sessions,
    (found) => [
      card(
        found.length < MOST ? `${count(found.length)} connected, on all nodes` : `The first ${MOST} connected`,
        table(
          "Sessions",
          [
            { title: "User", cell: (each) => each.userId ?? "nobody" },
            { title: "Name", cell: (each) => each.name ?? "" },
            { title: "Document", cell: (each) => (each.document ? link(placeOf(project, "rows", each.document.split("/")), each.document) : "") },
            { title: "Protocol", cell: (each) => each.protocol },
            { title: "Address", cell: (each) => each.address ?? "" },
            { title: "Since", cell: (each) => time(each.since) },
            { title: "", cell: (each) => button("Send away", () => sendAway(each), "danger") },
          ],
          found,
          "Nobody is connected.",
        ),
      ),
    ],
  )
  const sendAway = async (each: Session): Promise<void> => {
    if (!confirm(`End the session of ${each.userId ?? "nobody"}? They may connect again unless their token is revoked.`)) return
    await attempt(() => post("send-away", { project, session: each.session }), "Sent away.")
    await again()
  }
  watch(
    context,
    open,
    (signal) => get<Nodes<{ rooms: OpenRoom[]; count: number }>>("rooms", { limit: MOST }, signal),
    ({ nodes }) => [
      ...silent(nodes),
      card(
        `${count(sumOf(nodes))} open documents`,
        table(
          "Open documents",
          [
            ...nodeColumn(nodes),
            { title: "Project", cell: (each: OpenRoom) => each.project },
            {
              title: "Document",
              cell: (each) => link(placeOf(each.project, "rows", [each.collection, each.id], { tab: "presence" }), `${each.collection}/${each.id}`),
            },
            { title: "Sessions", cell: (each) => count(each.sessions), number: true },
            { title: "Presence", cell: (each) => count(each.people), number: true },
          ],
          rowsOf(nodes, ({ rooms }) => rooms).sort((one, other) => other.sessions - one.sessions),
          "No document is open.",
        ),
      ),
    ],
  )
}
