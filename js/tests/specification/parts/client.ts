/** The client of the components: they are below it, or find it where the application has put it. */
import { LumenizeClient } from "@lumenize/client"

declare global {
  interface Window {
    client: LumenizeClient
  }
}

export const client = new LumenizeClient({ projectId: "proj_abc123", apiKey: "lum_live_xyz789" })
window.client = client
