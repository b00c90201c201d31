/** What somebody typed, as a query. */

/** Rows of one page. */
export const PAGE = 50

/** The query of what was typed: words, conditions as JSON, and an order like `title, updatedAt desc`. Throws for other text. */
export function queryOf(search: string, where: string, order: string): Record<string, unknown> {
  const query: Record<string, unknown> = { limit: PAGE }
  if (search) query["search"] = search
  if (where) {
    try {
      query["where"] = JSON.parse(where)
    } catch (error) {
      throw new Error(`Where: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  if (order) {
    query["orderBy"] = order.split(",").map((part) => {
      const [field, direction = "asc", ...rest] = part.trim().split(/\s+/)
      if (!field || !["asc", "desc"].includes(direction) || rest.length > 0) throw new Error("Order: must be like title, updatedAt desc")
      return { [field]: direction }
    })
  }
  return query
}
