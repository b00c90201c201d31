import type { LumenizeError } from "@lumenize/client"
import { useLumenizeClient, useLumenizeSubscription } from "@lumenize/react"
import { useEffect, useRef, useState, type DragEvent, type ReactElement } from "react"

import { colourOf, type Me, type Somebody } from "../shared/me"
import { Card, type Draft, type Way } from "./Card"
import { History } from "./History"
import { useNotify } from "./Notices"
import { COLUMNS, queryOf, rankBefore, type Fields, type Filter, type Status, type Task } from "./tasks"

interface BoardProps {
  me: Me
  others: Somebody[]
  filter: Filter
  onEdit: (id: string | null) => void
}

export function Board({ me, others, filter, onEdit }: BoardProps): ReactElement {
  const client = useLumenizeClient<{ tasks: Fields }>()
  const notify = useNotify()
  const { data, loading, error } = useLumenizeSubscription<Fields>("tasks", queryOf(filter))
  const [dragged, setDragged] = useState<string | null>(null)
  const [over, setOver] = useState<{ status: Status; before: string | null } | null>(null)
  const [looked, setLooked] = useState<Task | null>(null)

  // kept here, because a card that somebody moves meanwhile mounts again
  const [draft, setDraft] = useState<Draft | null>(null)
  const edited = draft?.id ?? null
  useEffect(() => onEdit(edited), [edited, onEdit])
  useEffect(() => {
    if (draft === null || loading || data.some(({ id }) => id === draft.id)) return
    if (draft.title.trim()) rename(draft) // the card is no longer shown, and perhaps deleted
    setDraft(null)
  }, [data, loading, draft])

  // a card moved with the keyboard keeps the focus, although it mounts again in another column
  const moved = useRef<string | null>(null)
  useEffect(() => {
    if (moved.current === null) return
    document.querySelector<HTMLElement>(`[data-task="${CSS.escape(moved.current)}"] .text`)?.focus()
    moved.current = null
  }, [data])

  const columns = COLUMNS.filter(({ status }) => filter.status === undefined || filter.status === status)
  const tasksOf = (status: Status): Task[] => data.filter((task) => task.status === status)
  const place = (id: string, status: Status, before: string | null): void => {
    const column = tasksOf(status).filter((task) => task.id !== id)
    client.tasks.update(id, { status, rank: rankBefore(column, before) }).catch(notify.problem)
  }
  const add = (title: string, status: Status): void => {
    const { person } = filter // so that the new task matches the filter
    const assignee = typeof person === "string" ? { name: person, color: person === me.name ? me.color : colourOf(person) } : null
    client.tasks.create({ title, status, rank: rankBefore(tasksOf(status), null), assignee }).catch(notify.problem)
  }
  const move = (task: Task, way: Way): void => {
    const at = COLUMNS.findIndex(({ status }) => status === task.status)
    const column = tasksOf(task.status)
    const row = column.findIndex(({ id }) => id === task.id)
    if (way === "left" || way === "right") {
      const next = COLUMNS[way === "left" ? at - 1 : at + 1]
      if (next) place(task.id, next.status, null)
    } else if (way === "up" && row > 0) place(task.id, task.status, column[row - 1]!.id)
    else if (way === "down" && row < column.length - 1) place(task.id, task.status, column[row + 2]?.id ?? null)
    moved.current = task.id
  }
  const rename = ({ id, title, version }: Draft): void => {
    const bringBack = (): void => {
      client.tasks.restore(id).catch(notify.problem)
      client.tasks.update(id, { title }).catch(notify.problem)
    }
    client.tasks.update(id, { title }, version === undefined ? {} : { version }).catch((error: LumenizeError) => {
      if (error.code !== "NOT_FOUND") return notify.problem(error)
      notify({
        kind: "conflict",
        title: "Somebody has deleted this card while you renamed it.",
        text: `You wrote “${title}”.`,
        actions: [{ label: "Bring it back", run: bringBack }],
      })
    })
  }
  const remove = (task: Task): void => {
    client.tasks.delete(task.id).catch(notify.problem)
    notify({
      kind: "done",
      title: `“${task.title}” is deleted.`,
      actions: [{ label: "Undo", run: () => void client.tasks.restore(task.id).catch(notify.problem) }],
    })
  }

  if (error !== null) return <p className="notice" role="alert">The board cannot be shown: {error.message}</p>
  return (
    <main className="board" aria-busy={loading} data-columns={columns.length}>
      {columns.map(({ status, title }) => {
        const tasks = tasksOf(status)
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
                  draft={draft?.id === task.id ? draft : null}
                  onDraft={setDraft}
                  onRename={rename}
                  editors={others.filter(({ editing }) => editing === task.id)}
                  dragged={dragged === task.id}
                  marked={dragged !== null && over?.status === status && over.before === task.id}
                  onDrag={setDragged}
                  onMove={(way) => move(task, way)}
                  onDelete={() => remove(task)}
                  onHistory={() => setLooked(task)}
                />
              ))}
              {dragged !== null && over?.status === status && over.before === null && <li className="mark" />}
              {loading && [1, 2].map((each) => <li key={each} className="task card ghost" aria-hidden="true" />)}
              {!loading && tasks.length === 0 && <li className="empty">Nothing here</li>}
            </ul>
            <NewTask title={title} onAdd={(text) => add(text, status)} />
          </section>
        )
      })}
      {looked && <History task={data.find(({ id }) => id === looked.id) ?? looked} onClose={() => setLooked(null)} />}
    </main>
  )
}

/** The task before which a dropped card is placed: this one, or the next. */
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
        if (text === "") return input.focus()
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
