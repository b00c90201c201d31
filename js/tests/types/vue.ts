/** What TypeScript says of uses of the Vue package. This is checked, and never run. */
import type { Entity, LumenizeError } from "@lumenize/client"
import { lumenize, useDocument, useEntityEvent, useLumenizeClient, useLumenizeEvent, useLumenizeSubscription, usePresence, useSystemEvent } from "@lumenize/vue"
import { computed, ref, type App, type ComputedRef, type Ref } from "vue"

import { same, type Message, type Schema, type Task } from "./expect"

export function typed(app: App, userId: Ref<string | undefined>): void {
  const { data, loading, error } = useLumenizeSubscription<Task>(
    () => "tasks",
    () => ({ where: { assignedTo: userId.value ?? null } }),
    { enabled: () => userId.value !== undefined, fields: ["title"] },
  )
  // @ts-expect-error undefined is no condition
  useLumenizeSubscription("tasks", () => ({ where: { assignedTo: userId.value } }))
  // @ts-expect-error tasks have no such field
  useLumenizeSubscription<Task>("tasks", { where: { heading: "x" } })
  // @ts-expect-error there is no such status
  useLumenizeSubscription<Task>("tasks", () => ({ where: { status: "closed" as const } }))
  // @ts-expect-error tasks have no such field
  useLumenizeSubscription<Task>("tasks", {}, { fields: ["heading"] })
  const typed = useLumenizeSubscription<Schema["tasks"]>("tasks", { where: { status: "open" } }, { fields: ["title"] })
  same<typeof typed.data, ComputedRef<readonly Readonly<Entity<Task>>[]>>(true)
  // @ts-expect-error tasks have no such field
  useLumenizeSubscription<Schema["tasks"]>("tasks", { orderBy: { heading: "asc" } })
  // @ts-expect-error tasks have no such field
  useLumenizeSubscription<Schema["tasks"]>("tasks", {}, { fields: ["heading"] })
  same<typeof data, ComputedRef<readonly Readonly<Entity<Task>>[]>>(true)
  same<typeof loading, ComputedRef<boolean>>(true)
  same<typeof error, ComputedRef<LumenizeError | null>>(true)
  // @ts-expect-error tasks have no such field
  void data.value[0]?.heading
  useLumenizeSubscription("tasks", { orderBy: { createdAt: "desc" } }, { enabled: ref(true) })
  useLumenizeSubscription("tasks", computed(() => ({ where: { status: "open" } })))
  // @ts-expect-error there is no such direction
  useLumenizeSubscription("tasks", { orderBy: { createdAt: "down" } })
  // @ts-expect-error there is no such option
  useLumenizeSubscription("tasks", {}, { field: ["title"] })

  const client = useLumenizeClient<{ tasks: Task }>()
  app.use(lumenize, client)
  // @ts-expect-error a client is missing
  app.use(lumenize)
  // @ts-expect-error there is no such status
  void client.tasks.update("t1", { status: "closed" })
  useEntityEvent<Task>("tasks", userId.value ?? "*", (event) => same<typeof event.data, Entity<Task>>(true))
  useEntityEvent<Schema["messages"]>("messages", "*", (event) => same<typeof event.data, Entity<Message>>(true), { fields: ["text"] })
  // @ts-expect-error messages have no such field
  useEntityEvent<Message>("messages", "*", () => {}, { fields: ["title"] })
  void useLumenizeEvent("user_typing", () => {}, { channels: () => ["c1"] })({ channels: ["c1"] }).then(() => {})
  // @ts-expect-error the system says nothing of this
  useSystemEvent("weather", () => {})
  const { people } = usePresence(() => userId.value ?? null, () => ({ line: 1 }))
  void people.value[0]?.states
  useDocument(null).doc.value?.getText("content")
}
