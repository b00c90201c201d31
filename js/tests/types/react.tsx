/** What TypeScript says of uses of the React package. This is checked, and never run. */
import type { CustomEvent, Entity, LumenizeError } from "@lumenize/client"
import {
  useDocument,
  useEntityEvent,
  useLumenizeClient,
  useLumenizeEvent,
  useLumenizeSubscription,
  useMetric,
  usePresence,
  useSystemEvent,
} from "@lumenize/react"

import { same, type Message, type Schema, type Task } from "./expect"

export function Typed({ userId }: { userId: string | undefined }) {
  const { data, loading, error } = useLumenizeSubscription<Task>(
    "tasks",
    { where: { assignedTo: userId ?? null, createdAt: { gte: new Date(0) } }, orderBy: { createdAt: "desc" }, condition: () => true },
    { fields: ["title"], enabled: userId !== undefined },
  )
  // @ts-expect-error undefined is no condition
  useLumenizeSubscription("tasks", { where: { assignedTo: userId } })
  // @ts-expect-error tasks have no such field
  useLumenizeSubscription<Task>("tasks", { where: { heading: "x" } })
  // @ts-expect-error there is no such status
  useLumenizeSubscription<Task>("tasks", { where: { status: "closed" } })
  // @ts-expect-error tasks have no such field
  useLumenizeSubscription<Task>("tasks", {}, { fields: ["heading"] })
  const typed = useLumenizeSubscription<Schema["tasks"]>("tasks", { where: { status: "open" } }, { fields: ["title"] })
  same<typeof typed.data, readonly Readonly<Entity<Task>>[]>(true)
  // @ts-expect-error tasks have no such field
  useLumenizeSubscription<Schema["tasks"]>("tasks", { orderBy: { heading: "asc" } })
  // @ts-expect-error tasks have no such field
  useLumenizeSubscription<Schema["tasks"]>("tasks", {}, { fields: ["heading"] })
  same<typeof data, readonly Readonly<Entity<Task>>[]>(true)
  same<typeof loading, boolean>(true)
  same<typeof error, LumenizeError | null>(true)
  const title = data.map((task) => task.title)
  same<typeof title, string[]>(true)
  // @ts-expect-error tasks have no such field
  void data[0]?.heading
  // @ts-expect-error rows are not for writing
  data.push()
  // @ts-expect-error there is no such direction
  useLumenizeSubscription("tasks", { orderBy: { createdAt: "down" } })
  // @ts-expect-error there is no such option
  useLumenizeSubscription("tasks", {}, { field: ["title"] })
  const untyped = useLumenizeSubscription("tasks").data.map(({ id, whatever }) => [id, whatever])
  same<typeof untyped, unknown[][]>(false) // fields that nobody declared are `any`

  const client = useLumenizeClient<{ tasks: Task }>()
  void client.tasks.update("t1", { status: "done" })
  // @ts-expect-error there is no such status
  void client.tasks.update("t1", { status: "closed" })

  useEntityEvent<Task>("tasks", "*", (event) => same<typeof event.data, Entity<Task>>(true))
  useEntityEvent<Schema["messages"]>("messages", "*", (event) => same<typeof event.data, Entity<Message>>(true), { fields: ["text"] })
  // @ts-expect-error messages have no such field
  useEntityEvent<Message>("messages", "*", () => {}, { fields: ["title"] })
  // @ts-expect-error no event is of this type
  useEntityEvent("tasks", "t1", ({ type }) => type === "removed")
  const emit = useLumenizeEvent("user_typing", (event) => same<typeof event, CustomEvent>(true), { channels: ["c1"] })
  void emit({ chatId: "c1", channels: ["c1"] }).then(() => emit())
  // @ts-expect-error the system says nothing of this
  useSystemEvent("weather", () => {})
  // @ts-expect-error there is no such number
  useMetric("visitors")

  const { people } = usePresence(userId ?? null, { cursor: { line: 1 } })
  const who = people.map((person) => person.userId)
  same<typeof who, (string | null)[]>(true)
  const { doc, awareness } = useDocument(userId ?? null)
  doc?.getText("content").insert(0, "x")
  awareness?.setLocalStateField("cursor", 5)
  return data.map((task) => <p key={task.id}>{task.title}</p>)
}
