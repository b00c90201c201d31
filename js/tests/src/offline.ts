/** A page that keeps what it knows: the client of the address's `user` at `url`, a list of `collection`, and a document. */
import { LumenizeClient, type LumenizeError } from "@lumenize/client"
import type { OpenDocument } from "@lumenize/client/documents"

interface Task {
  title: string
}

const said = new URLSearchParams(location.search)
const client = new LumenizeClient({
  url: said.get("url") ?? "",
  userId: said.get("user") ?? "ada",
  persist: { name: "kept" },
  websocket: { initialDelay: 50, maxDelay: 200 },
})

const tasks = client.collection<Task>(said.get("collection") ?? "")

const page = {
  client,
  tasks,
  document: null as OpenDocument | null,
  errors: [] as { code: string; details: Record<string, unknown> }[],
  rows: null as string[] | null,
  /** How often the list was shown. */
  shown: 0,
  get text(): string | null {
    return this.document?.doc.getText("content").toString() ?? null
  },
  /** What the database keeps in one of its stores. */
  async kept(store: string): Promise<unknown[]> {
    const database = await new Promise<IDBDatabase>((resolve, reject) => {
      const opening = indexedDB.open("kept")
      opening.onsuccess = () => resolve(opening.result)
      opening.onerror = () => reject(opening.error)
    })
    try {
      return await new Promise((resolve) => {
        const all = database.transaction(store).objectStore(store).getAll()
        all.onsuccess = () => resolve(all.result)
      })
    } finally {
      database.close()
    }
  },
}

client.onError(({ code, details }: LumenizeError) => page.errors.push({ code, details }))
tasks.subscribe({ orderBy: { id: "asc" } }, (all) => {
  page.rows = all.map(({ id, title }) => `${id}: ${title}`)
  page.shown += 1
})
client.connect().catch(() => {})
if (said.get("document") !== null) void client.documents.open(said.get("document") ?? "").then((open) => (page.document = open))

declare global {
  var page: unknown
}
globalThis.page = page
