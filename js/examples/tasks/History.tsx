import { useLumenizeClient } from "@lumenize/react"
import { useEffect, useRef, useState, type ReactElement } from "react"

import { useNotify } from "./Notices"
import { deed, type Fields, type Task, type TaskEvent } from "./tasks"

const MOST = 50
const when = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" })

/** The history of a card, with restoring. */
export function History({ task, onClose }: { task: Task; onClose: () => void }): ReactElement {
  const client = useLumenizeClient<{ tasks: Fields }>()
  const notify = useNotify()
  const dialog = useRef<HTMLDialogElement>(null)
  const [events, setEvents] = useState<readonly TaskEvent[] | null>(null)
  useEffect(() => dialog.current?.showModal(), [])
  useEffect(() => {
    let stale = false
    client.tasks.history(task.id, { limit: MOST }).then(
      (found) => stale || setEvents(found),
      (error: Error) => {
        if (stale) return
        notify.problem(error)
        onClose()
      },
    )
    return () => {
      stale = true
    }
    // read the open history again after each change of the card
  }, [client, task.id, task.updatedAt])
  return (
    <dialog
      ref={dialog}
      className="history card"
      aria-labelledby="history"
      onClose={onClose}
      onClick={({ target }) => target === dialog.current && dialog.current?.close()}
    >
      <div className="inside">
        <header>
          <h2 id="history">{task.title}</h2>
          <button type="button" onClick={() => dialog.current?.close()}>
            Close
          </button>
        </header>
        {events === null ? (
          <p className="empty">Looking it up…</p>
        ) : (
          <ol aria-label="History">
            {events.map((event, index) => (
              <li key={event.position}>
                <p>
                  <b>{event.userId ?? "Somebody"}</b> {deed(event)}
                  {event.conflicts.length > 0 && <span className="tag">met another change</span>}
                </p>
                <time dateTime={event.at}>{when.format(new Date(event.at))}</time>
                {index > 0 && event.type !== "deleted" && (
                  <button
                    type="button"
                    aria-label={`Restore version ${event.version}`}
                    onClick={() => void client.tasks.restore(task.id, event.version).catch(notify.problem)}
                  >
                    Restore
                  </button>
                )}
              </li>
            ))}
          </ol>
        )}
      </div>
    </dialog>
  )
}
