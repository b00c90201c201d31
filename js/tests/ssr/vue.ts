import type { LumenizeClient } from "@lumenize/client"
import { lumenize, useConnection, useDocument, useLumenizeEvent, useLumenizeSubscription, useMetric, usePresence } from "@lumenize/vue"
import { createSSRApp, h } from "vue"
import { renderToString } from "vue/server-renderer"

const Page = {
  setup() {
    const { data, loading, error } = useLumenizeSubscription("tasks", { where: { status: "open" } })
    const { people } = usePresence("room", { here: true })
    const { synced } = useDocument("d")
    const active = useMetric("active_users")
    const { state } = useConnection()
    useLumenizeEvent("user_typing", () => {})
    return () =>
      h("p", JSON.stringify([data.value, loading.value, error.value, people.value, synced.value, active.value, state.value]))
  },
}

export const render = (client: LumenizeClient): Promise<string> => renderToString(createSSRApp(Page).use(lumenize, client))
