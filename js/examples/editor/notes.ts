/** The fields of a note; its text is a document. */
import type { LumenizeClient } from "@lumenize/client"

import { seed } from "../shared/seed"

export interface Note {
  title: string
}

/** The note shown by a URL without a name. */
export const FIRST = "field-notes"

const TEXT = `Forty-one herons on the east bank, most of them fishing. *Two had rings.*

## For tomorrow

- Bring the **long lens**
- Ask about the keys of the ferry house
- Draw the map of the reed beds

> Write here in two windows, and see each other's cursors.
> Stop the server while you write: the page says what is saved.
`

/** Creates the first note; the one page that created it writes its text. */
export async function seedFirst(client: LumenizeClient<{ notes: Note }>): Promise<void> {
  if (!(await seed(client, "notes", [{ id: FIRST, title: "Field notes" }]))) return
  const { doc, synced } = await client.documents.open(`notes/${FIRST}`)
  await synced
  doc.getText("content").insert(0, TEXT)
}
