/** What a note is, besides its text. */
import type { LumenizeClient } from "@lumenize/client"

import { seed } from "../shared/seed"

export interface Note {
  title: string
}

/** The note that a page without a name in its address shows. */
export const FIRST = "field-notes"

const TEXT = `Forty-one herons on the east bank, most of them fishing. *Two had rings.*

## For tomorrow

- Bring the **long lens**
- Ask about the keys of the ferry house
- Draw the map of the reed beds

> Write here in two windows, and see each other's cursors.
> Stop the server while you write: the page says what is saved.
`

/** The first note is there from the beginning; its text is written by the one page that made it. */
export async function seedFirst(client: LumenizeClient<{ notes: Note }>): Promise<void> {
  if (!(await seed(client, "notes", [{ id: FIRST, title: "Field notes" }]))) return
  const { doc, synced } = await client.documents.open(`notes/${FIRST}`)
  await synced
  doc.getText("content").insert(0, TEXT)
}
