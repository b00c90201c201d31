/** What TypeScript says of uses of the Svelte package. This is checked, and never run. */
import type { Entity, QueryState } from "@lumenize/client"
import { lumenizeDocument, lumenizePresence, lumenizeSubscription, onEntityEvent, onLumenizeEvent, onSystemEvent, useClient } from "@lumenize/svelte"
import { get, writable, type Readable } from "svelte/store"

import { same, type Message, type Schema, type Task } from "./expect"

export function typed(userId: string | undefined): void {
  const tasks = lumenizeSubscription<Task>("tasks", { where: { assignedTo: userId ?? null } }, { fields: ["title"] })
  // @ts-expect-error undefined is no condition
  lumenizeSubscription("tasks", { where: { assignedTo: userId } })
  // @ts-expect-error tasks have no such field
  lumenizeSubscription<Task>("tasks", { where: { heading: "x" } })
  // @ts-expect-error there is no such status
  lumenizeSubscription<Task>("tasks", writable({ where: { status: "closed" as const } }))
  // @ts-expect-error tasks have no such field
  lumenizeSubscription<Task>("tasks", {}, { fields: ["heading"] })
  const typed = lumenizeSubscription<Schema["tasks"]>("tasks", { where: { status: "open" } }, { fields: ["title"] })
  same<typeof typed, Readable<QueryState<Task>>>(true)
  // @ts-expect-error tasks have no such field
  lumenizeSubscription<Schema["tasks"]>("tasks", { orderBy: { heading: "asc" } })
  // @ts-expect-error tasks have no such field
  lumenizeSubscription<Schema["tasks"]>("tasks", {}, { fields: ["heading"] })
  same<typeof tasks, Readable<QueryState<Task>>>(true)
  const { data } = get(tasks)
  same<typeof data, readonly Readonly<Entity<Task>>[]>(true)
  // @ts-expect-error tasks have no such field
  void data[0]?.heading
  lumenizeSubscription("tasks", writable(userId === undefined ? null : { where: { assignedTo: userId } }))
  // @ts-expect-error there is no such direction
  lumenizeSubscription("tasks", { orderBy: { createdAt: "down" } })
  // @ts-expect-error there is no such option
  lumenizeSubscription("tasks", {}, { enabled: false })

  // @ts-expect-error there is no such status
  void useClient<{ tasks: Task }>().tasks.update("t1", { status: "closed" })
  onEntityEvent<Task>("tasks", "*", (event) => same<typeof event.data, Entity<Task>>(true))
  onEntityEvent<Schema["messages"]>("messages", "*", (event) => same<typeof event.data, Entity<Message>>(true), { fields: ["text"] })
  // @ts-expect-error messages have no such field
  onEntityEvent<Message>("messages", "*", () => {}, { fields: ["title"] })
  void onLumenizeEvent("user_typing")({ channels: ["c1"] }).then(() => {})
  // @ts-expect-error the system says nothing of this
  onSystemEvent("weather", () => {})
  const { people } = get(lumenizePresence(writable<string | null>(null), writable({ line: 1 })))
  void people[0]?.states
  get(lumenizeDocument(userId ?? null)).doc?.getText("content")
}
