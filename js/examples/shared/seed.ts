/** Something to look at for whoever comes first. */
import type { Client, Data } from "@lumenize/client"

/**
 * Put rows into a collection in which the first of them has never been. Resolves to whether this page did.
 *
 * They are there once, also if two pages come at the same moment: each row has its name, and of two that create the
 * same the second is refused. What somebody has deleted stays so.
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
    return false // somebody else was first, or this user may not write
  }
}
