/** Webhooks, what they did not accept, and sending it again. */
import { get, post, type Letter, type Webhook } from "../api.js"
import { button, card, h, link, reason, short, table, time, toast } from "../dom.js"
import { count } from "../numbers.js"
import { placeOf } from "../places.js"
import { watch, type View } from "../view.js"

const PAGE = 20

export const webhooks: View = (context, main) => {
  const list = h("div")
  const letters = h("div", { "aria-live": "polite" })
  main.append(h("h1", {}, "Webhooks"), list, letters)
  const again = watch(
    context,
    list,
    async (signal) => (await get<{ webhooks: Webhook[] }>("webhooks", {}, signal)).webhooks,
    (found) => [
      card(
        "All projects",
        table(
          "Webhooks",
          [
            { title: "Name", cell: (each) => each.name },
            { title: "Project", cell: (each) => each.project },
            { title: "URL", cell: (each) => each.url ?? "not configured any more" },
            { title: "Behind", cell: (each) => (each.behind === null ? "not begun" : count(each.behind)), number: true },
            { title: "Dead letters", cell: (each) => count(each.deadLetters), number: true },
            { title: "", cell: (each) => (each.deadLetters > 0 ? button("Look at them", () => read(each, 0)) : "") },
          ],
          found,
          "No webhook is configured.",
        ),
      ),
    ],
  )

  const read = async (webhook: Webhook, after: number): Promise<void> => {
    try {
      const found = await get<{ letters: Letter[]; next: number | null }>("letters", { webhook: webhook.name, after, limit: PAGE }, context.signal)
      const numbers = found.letters.map(({ number }) => number)
      letters.replaceChildren(
        card(
          `Dead letters of ${webhook.name}, oldest first`,
          table(
            "Dead letters",
            [
              { title: "Number", cell: (each: Letter) => String(each.number) },
              { title: "At", cell: (each) => time(each.at) },
              { title: "Entity", cell: (each) => link(placeOf(each.project, "rows", [each.collection, each.id]), `${each.collection}/${each.id}`) },
              { title: "Event", cell: (each) => `${each.type}, version ${each.version}` },
              { title: "Reason", cell: (each) => short(each.reason, 120) },
              { title: "", cell: (each) => button("Send again", () => replay(webhook, [each.number], after)) },
            ],
            found.letters,
            "No more.",
          ),
          h(
            "div",
            { class: "actions" },
            numbers.length > 0 && button(`Send these ${numbers.length} again`, () => replay(webhook, numbers, after), "primary"),
            after > 0 && button("From the oldest", () => read(webhook, 0)),
            found.next !== null && button("Next", () => read(webhook, found.next ?? 0)),
          ),
        ),
      )
    } catch (error) {
      if (!context.signal.aborted) toast(reason(error), true)
    }
  }

  const replay = async (webhook: Webhook, numbers: number[], after: number): Promise<void> => {
    toast(`Sending ${numbers.length}…`)
    try {
      const done = await post<{ sent: number; waiting: number; failed: { number: number; reason: string }[] }>("replay", { webhook: webhook.name, numbers })
      const failed = done.failed.length > 0 ? ` ${done.failed.length} failed: ${done.failed[0]?.reason}.` : ""
      const waiting = done.waiting > 0 ? ` ${done.waiting} wait for an earlier event of the same entity.` : ""
      toast(`${done.sent} were taken.${failed}${waiting}`, done.failed.length > 0)
    } catch (error) {
      toast(reason(error), true)
    }
    await Promise.all([again(), read(webhook, after)])
  }
}
