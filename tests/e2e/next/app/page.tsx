import { LumenizeClient } from "@lumenize/client"

import { Tasks } from "./tasks"

export const dynamic = "force-dynamic"

/** Rows that the server has read are in the page before any script runs; the list then lives on. */
export default async function Page() {
  const client = new LumenizeClient({ url: process.env["COLLAB_URL"] })
  await client.connect()
  const count = await client.collection("tasks").count()
  await client.disconnect()
  return (
    <main>
      <p id="count">{count}</p>
      <Tasks url={process.env["COLLAB_URL"] ?? ""} />
    </main>
  )
}
