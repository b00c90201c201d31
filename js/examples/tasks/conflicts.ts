import type { Conflict } from "@lumenize/client"
import { useLumenizeClient } from "@lumenize/react"
import { useEffect } from "react"

import { useNotify, type Notice } from "./Notices"
import { readable, type Fields } from "./tasks"

const WHAT: Record<string, string> = { title: "the title", status: "the column", assignee: "who does it" }

/**
 * Show conflicts, when two people have written the same field concurrently: the other person, the value in force, and
 * the other value to choose instead. Both see it: the later writer in the answer, the earlier one in the event.
 */
export function useConflicts(me: string): void {
  const client = useLumenizeClient<{ tasks: Fields }>()
  const notify = useNotify()
  useEffect(() => {
    const tell = (id: string, conflict: Conflict, other: string | null): void => {
      const { field, yours, theirs, winner } = conflict
      const what = WHAT[field]
      if (what === undefined || JSON.stringify(yours) === JSON.stringify(theirs)) return
      const [holds, lost] = winner === "yours" ? [yours, theirs] : [theirs, yours]
      const notice: Notice = {
        kind: "conflict",
        title: `You and ${other ?? "somebody else"} changed ${what} at the same time.`,
        text: `“${readable(holds)}” holds; ${winner === "yours" ? "theirs" : "yours"} was “${readable(lost)}”.`,
        actions: [
          {
            label: `Use “${readable(lost)}”`,
            run: () => void client.tasks.update(id, { [field]: lost }).catch(notify.problem),
          },
        ],
      }
      notify(notice)
    }
    const ends = [
      client.onConflict((conflicts, { collection, id }) => {
        if (collection === "tasks") for (const conflict of conflicts) tell(id, conflict, conflict.userId)
      }),
      client.tasks.subscribe("*", ({ id, userId, conflicts }) => {
        if (userId === me) return
        for (const conflict of conflicts) if (conflict.userId === me) tell(id, seenByTheOther(conflict), userId)
      }),
    ]
    return () => ends.forEach((end) => end())
  }, [client, me, notify])
}

/** A conflict as seen by the earlier writer. */
const seenByTheOther = (conflict: Conflict): Conflict => ({
  ...conflict,
  yours: conflict.theirs,
  theirs: conflict.yours,
  winner: conflict.winner === "yours" ? "theirs" : "yours",
})
