import { useConnection, useLumenizeClient } from "@lumenize/react"
import { useEffect, useRef, useState, type ReactElement } from "react"

import { initials, type Me, type Somebody } from "../shared/me"
import { report } from "./Board"
import { personal } from "./Page"
import type { Fields, Task } from "./tasks"

interface CardProps {
  task: Task
  me: Me
  /** The others who have this task open for editing. */
  editors: Somebody[]
  dragged: boolean
  /** Whether what is being dragged would go in front of this card. */
  marked: boolean
  onDrag: (id: string | null) => void
  onEdit: (id: string | null) => void
  onLeft: (() => void) | null
  onRight: (() => void) | null
}

export function Card({ task, me, editors, dragged, marked, onDrag, onEdit, onLeft, onRight }: CardProps): ReactElement {
  const client = useLumenizeClient<{ tasks: Fields }>()
  useConnection() // what is pending changes with it
  const [draft, setDraft] = useState<string | null>(null)
  const input = useRef<HTMLTextAreaElement>(null)
  const editing = draft !== null
  useEffect(() => {
    if (editing) input.current?.select()
  }, [editing])

  const begin = (): void => {
    setDraft(task.title)
    onEdit(task.id)
  }
  const end = (keep: boolean): void => {
    const title = draft?.trim()
    if (keep && title && title !== task.title) client.tasks.update(task.id, { title }).catch(report)
    setDraft(null)
    onEdit(null)
  }
  const mine = task.assignee?.name === me.name
  const editor = editors[0]
  return (
    <li
      className="task card arrive"
      data-task={task.id}
      data-pending={client.isPending("tasks", task.id) || undefined}
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
        <button type="button" className="text" title="Change the title" onClick={begin}>
          {task.title}
        </button>
      ) : (
        <textarea
          ref={input}
          aria-label="Title"
          value={draft}
          rows={2}
          maxLength={200}
          onChange={({ target }) => setDraft(target.value)}
          onBlur={() => end(true)}
          onKeyDown={(event) => {
            if (event.key === "Enter") {
              event.preventDefault()
              end(true)
            } else if (event.key === "Escape") end(false)
          }}
        />
      )}
      <div className="foot">
        <button
          type="button"
          className="assignee"
          aria-pressed={mine}
          aria-label={task.assignee ? `Assigned to ${task.assignee.name}` : "Take this task"}
          title={mine ? "Give it back" : "Take this task"}
          onClick={() =>
            void client.tasks
              .update(task.id, { assignee: mine ? null : { name: me.name, color: me.color } })
              .catch(report)
          }
        >
          {task.assignee ? (
            <>
              <span className="avatar small" style={personal(task.assignee.color)}>
                {initials(task.assignee.name)}
              </span>
              {task.assignee.name}
            </>
          ) : (
            "Take"
          )}
        </button>
        {editor && <span className="editing">{editor.name} is editing</span>}
        <span className="push" />
        <Move label={`Move “${task.title}” to the left`} path="M10 3 5 8l5 5" onMove={onLeft} />
        <Move label={`Move “${task.title}” to the right`} path="m6 3 5 5-5 5" onMove={onRight} />
        <Move
          label={`Delete “${task.title}”`}
          path="M4 4l8 8M12 4l-8 8"
          onMove={() => void client.tasks.delete(task.id).catch(report)}
        />
      </div>
    </li>
  )
}

function Move({ label, path, onMove }: { label: string; path: string; onMove: (() => void) | null }): ReactElement {
  return (
    <button type="button" className="icon" aria-label={label} title={label} disabled={onMove === null} onClick={onMove ?? undefined}>
      <svg viewBox="0 0 16 16" fill="none" stroke="currentColor" strokeWidth="1.8" strokeLinecap="round" strokeLinejoin="round" aria-hidden="true">
        <path d={path} />
      </svg>
    </button>
  )
}
