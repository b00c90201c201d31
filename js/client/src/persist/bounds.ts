/** What to drop when too much is kept. Pure. */
import type { Item, ItemKey } from "./database.js"

/** How much of the limit remains in use after dropping, so that not every new entry drops another. */
const REST = 0.9

/**
 * The items to drop, least recently used first, until at most nine tenths of `maxBytes` remain; none within the limit.
 * Those with unsaved edits stay, and those that `isHeld` (a page uses them).
 */
export function toDrop(
  items: readonly (readonly [ItemKey, Item])[],
  maxBytes: number,
  isHeld: (key: ItemKey) => boolean = () => false,
): ItemKey[] {
  let bytes = items.reduce((all, [, item]) => all + item.bytes, 0)
  if (bytes <= maxBytes) return []
  const dropped: ItemKey[] = []
  const free = items.filter(([key, { unsaved }]) => !unsaved && !isHeld(key)).sort(([, a], [, b]) => a.used - b.used)
  for (const [key, item] of free) {
    if (bytes <= maxBytes * REST) break
    bytes -= item.bytes
    dropped.push(key)
  }
  return dropped
}
