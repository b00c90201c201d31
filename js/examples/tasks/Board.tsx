import { useLumenizeClient, useLumenizeSubscription } from "@lumenize/react"
import { useState, type DragEvent, type ReactElement } from "react"

import type { Me, Somebody } from "../shared/me"
import { Card } from "./Card"
import { COLUMNS, EXAMPLES, rankBefore, type Fields, type Status, type Task } from "./tasks"

interface BoardProps {
  me: Me
  others: Somebody[]
  onEdit: (id: string | null) => void
}

/** What a rejected write says; the page goes on, for what was written is shown as it is on the server. */
export function report(error: Error): void {
  console.warn(error.message)
}

export function Board({ me, others, onEdit }: BoardProps): ReactElement {
  const client = useLumenizeClient<{ tasks: Fields }>()
  const { data, loading, error } = useLumenizeSubscription<Fields>("tasks", { orderBy: { rank: "asc" } })
  const [dragged, setDragged] = useState<string | null>(null)
  const [over, setOver] = useState<{ status: Status; before: string | null } | null>(null)

  const place = (id: string, status: Status, before: string | null): void => {
    const column = data.filter((task) => task.status === status && task.id !== id)
    client.tasks.update(id, { status, rank: rankBefore(column, before) }).catch(report)
  }
  const fill = (): void => {
    EXAMPLES.forEach(([status, title], index) => {
      client.tasks.create({ title, status, rank: Date.now() + index }).catch(report)
    })
  }

  if (error !== null) return <p className="notice" role="alert">The board cannot be shown: {error.message}</p>
  return (
    <main className="board" aria-busy={loading}>
      {COLUMNS.map(({ status, title }, index) => {
        const tasks = data.filter((task) => task.status === status)
        const drop = {
          onDragOver: (event: DragEvent<HTMLElement>) => {
            event.preventDefault()
            const card = (event.target as HTMLElement).closest<HTMLElement>("[data-task]")
            const before = card === null ? null : beforeOf(tasks, card, event.clientY)
            if (over?.status !== status || over.before !== before) setOver({ status, before })
          },
          onDrop: (event: DragEvent<HTMLElement>) => {
            event.preventDefault()
            if (dragged !== null && over?.before !== dragged) place(dragged, status, over?.before ?? null)
            setDragged(null)
            setOver(null)
          },
        }
        return (
          <section key={status} className="column" aria-labelledby={`column-${status}`} data-status={status} {...drop}>
            <h2 id={`column-${status}`}>
              {title} <span className="count">{loading ? "" : tasks.length}</span>
            </h2>
            <ul>
              {tasks.map((task) => (
                <Card
                  key={task.id}
                  task={task}
                  me={me}
                  editors={others.filter(({ editing }) => editing === task.id)}
                  dragged={dragged === task.id}
                  marked={dragged !== null && over?.status === status && over.before === task.id}
                  onDrag={setDragged}
                  onEdit={onEdit}
                  onLeft={index > 0 ? () => place(task.id, COLUMNS[index - 1]!.status, null) : null}
                  onRight={index < COLUMNS.length - 1 ? () => place(task.id, COLUMNS[index + 1]!.status, null) : null}
                />
              ))}
              {dragged !== null && over?.status === status && over.before === null && <li className="mark" />}
              {!loading && tasks.length === 0 && (
                <li className="empty">
                  {data.length > 0 || status !== "todo" ? "Nothing here" : <button onClick={fill}>Fill the board with examples</button>}
                </li>
              )}
            </ul>
            <NewTask title={title} onAdd={(text) => client.tasks.create({ title: text, status, rank: rankBefore(tasks, null) }).catch(report)} />
          </section>
        )
      })}
    </main>
  )
}

/** The task in front of which a card dropped here goes: this one, or the one behind it. */
function beforeOf(tasks: readonly Task[], card: HTMLElement, y: number): string | null {
  const { top, height } = card.getBoundingClientRect()
  const at = tasks.findIndex(({ id }) => id === card.dataset["task"])
  return tasks[y < top + height / 2 ? at : at + 1]?.id ?? null
}

function NewTask({ title, onAdd }: { title: string; onAdd: (text: string) => void }): ReactElement {
  return (
    <form
      className="new"
      onSubmit={(event) => {
        event.preventDefault()
        const input = event.currentTarget.elements.namedItem("title") as HTMLInputElement
        const text = input.value.trim()
        if (text === "") return
        onAdd(text)
        input.value = ""
      }}
    >
      <input name="title" placeholder="Add a task" aria-label={`Add a task to ${title}`} maxLength={200} autoComplete="off" />
      <button type="submit" className="icon" aria-label={`Add to ${title}`}>
        <svg viewBox="0 0 16 16" fill="none" stroke="currentColor" strokeWidth="1.8" strokeLinecap="round" aria-hidden="true">
          <path d="M8 3v10M3 8h10" />
        </svg>
      </button>
    </form>
  )
}
