import { useConnection, useLumenizeClient } from "@lumenize/react"
import { useEffect, useRef, type KeyboardEvent, type ReactElement } from "react"

import { initials, type Me, type Somebody } from "../shared/me"
import { personal } from "./Avatar"
import { useNotify } from "./Notices"
import { COLUMNS, type Fields, type Task } from "./tasks"

export type Way = "left" | "right" | "up" | "down"

const KEYS: Record<string, Way> = { ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down" }

/** A title being edited. */
export interface Draft {
  id: string
  title: string
  /** The version at the start of the edit, to detect later writes of others as conflicts. */
  version: number | undefined
}

interface CardProps {
  task: Task
  me: Me
  draft: Draft | null
  onDraft: (draft: Draft | null) => void
  onRename: (draft: Draft) => void
  /** Other people who are editing this task. */
  editors: Somebody[]
  dragged: boolean
  /** Whether the dragged card would be placed before this card. */
  marked: boolean
  onDrag: (id: string | null) => void
  onMove: (way: Way) => void
  onDelete: () => void
  onHistory: () => void
}

export function Card(props: CardProps): ReactElement {
  const { task, me, draft, editors, dragged, marked, onDraft, onRename, onDrag, onMove, onDelete, onHistory } = props
  const client = useLumenizeClient<{ tasks: Fields }>()
  const notify = useNotify()
  useConnection() // renders again when pending writes change
  const pending = client.isPending("tasks", task.id)
  const input = useRef<HTMLTextAreaElement>(null)
  const text = useRef<HTMLButtonElement>(null)
  /** Whether a key ended editing: then the focus returns to its previous place. */
  const byKey = useRef(false)
  const editing = draft !== null
  useEffect(() => {
    if (draft !== null) {
      // if somebody moved the card meanwhile, continue editing
      input.current?.focus()
      input.current?.setSelectionRange(draft.title === task.title ? 0 : draft.title.length, draft.title.length)
    } else if (byKey.current) text.current?.focus()
    byKey.current = false
    // only when editing begins or ends
  }, [editing])

  const begin = (): void => onDraft({ id: task.id, title: task.title, version: client.tasks.seen(task.id) })
  const end = (keep: boolean): void => {
    if (draft === null) return
    const title = draft.title.trim()
    if (keep && title && title !== task.title) onRename({ ...draft, title })
    onDraft(null)
  }
  const moveByKey = (event: KeyboardEvent): void => {
    const way = KEYS[event.key]
    if (!event.shiftKey || way === undefined) return
    event.preventDefault()
    onMove(way)
  }
  const mine = task.assignee?.name === me.name
  const take = (): void =>
    void client.tasks.update(task.id, { assignee: mine ? null : { name: me.name, color: me.color } }).catch(notify.problem)
  const column = COLUMNS.findIndex(({ status }) => status === task.status)
  const editor = editors[0]
  return (
    <li
      className="task card arrive"
      data-task={task.id}
      data-pending={pending || undefined}
      data-dragged={dragged || undefined}
      data-marked={marked || undefined}
      data-edited={editor !== undefined || undefined}
      style={editor && personal(editor.color)}
      draggable={!editing}
      onDragStart={(event) => {
        event.dataTransfer.effectAllowed = "move"
        event.dataTransfer.setData("text/plain", task.title)
        onDrag(task.id)
      }}
      onDragEnd={() => onDrag(null)}
    >
      {draft === null ? (
        <button ref={text} type="button" className="text" title="Change the title (Shift and arrow keys move the card)" onClick={begin} onKeyDown={moveByKey}>
          {task.title}
        </button>
      ) : (
        <textarea
          ref={input}
          aria-label="Title"
          value={draft.title}
          rows={2}
          maxLength={200}
          onChange={({ target }) => onDraft({ ...draft, title: target.value })}
          onBlur={() => end(true)}
          onKeyDown={(event) => {
            if (event.key !== "Enter" && event.key !== "Escape") return
            event.preventDefault()
            byKey.current = true
            end(event.key === "Enter")
          }}
        />
      )}
      {(editor || pending) && (
        <p className="notes">
          {editor && <span className="editing">{editor.name} is editing</span>}
          {pending && <span className="waiting">not saved yet</span>}
        </p>
      )}
      <div className="foot">
        <button
          type="button"
          className="assignee"
          aria-pressed={mine}
          aria-label={task.assignee ? `Assigned to ${task.assignee.name}` : "Take this task"}
          title={mine ? "Give it back" : "Take this task"}
          onClick={take}
        >
          {task.assignee ? (
            <>
              <span className="avatar small" style={personal(task.assignee.color)}>
                {initials(task.assignee.name)}
              </span>
              <span className="who">{task.assignee.name}</span>
            </>
          ) : (
            "Take"
          )}
        </button>
        <span className="push" />
        <Tool label="Move left" of={task} path="M10 3 5 8l5 5" onPress={column > 0 ? () => onMove("left") : null} />
        <Tool label="Move right" of={task} path="m6 3 5 5-5 5" onPress={column < COLUMNS.length - 1 ? () => onMove("right") : null} />
        <Tool label="History" of={task} path="M2.5 8a5.5 5.5 0 1 0 1.8-4.1L2.5 5.5M2.5 2.5v3h3M8 5v3.2l2 1.3" onPress={onHistory} />
        <Tool label="Delete" of={task} path="M4 4l8 8M12 4l-8 8" onPress={onDelete} />
      </div>
    </li>
  )
}

function Tool({ label, of, path, onPress }: { label: string; of: Task; path: string; onPress: (() => void) | null }): ReactElement {
  return (
    <button type="button" className="icon" aria-label={`${label}: ${of.title}`} title={label} disabled={onPress === null} onClick={onPress ?? undefined}>
      <svg viewBox="0 0 16 16" fill="none" stroke="currentColor" strokeWidth="1.7" strokeLinecap="round" strokeLinejoin="round" aria-hidden="true">
        <path d={path} />
      </svg>
    </button>
  )
}
