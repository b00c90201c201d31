/** Sample data for empty collections. */
import type { Client, Data } from "@lumenize/client"

/**
 * Put rows into a collection that has never contained the first of them. Resolves to whether this page did.
 *
 * The rows are created once, even by two pages at the same moment: each has a fixed id, and the server refuses to
 * create it twice. Deleted rows stay deleted.
 */
export async function seed(client: Client, collection: string, rows: readonly (Data & { id: string })[]): Promise<boolean> {
  const [first, ...rest] = rows
  const entities = client.collection(collection)
  if (first === undefined) return false
  try {
    if ((await entities.history(first.id, { limit: 1 })).length > 0) return false
    await entities.create(first)
    await Promise.all(rest.map((row) => entities.create(row)))
    return true
  } catch {
    return false // another page was first, or this user may not write
  }
}
