import { useConnection, usePresence } from "@lumenize/react"
import { useMemo, useState, type CSSProperties, type ReactElement } from "react"

import { words } from "../shared/client"
import { initials, myself, readPeople, renamed, type Me } from "../shared/me"
import { Board } from "./Board"
import { Conflicts } from "./Conflicts"

const first = myself()

export const personal = (color: string): CSSProperties => ({ "--person": color }) as CSSProperties

export function Page(): ReactElement {
  const [me, setMe] = useState<Me>(first)
  const [editing, setEditing] = useState<string | null>(null)
  const { people } = usePresence("boards/tasks", { ...me, editing })
  const here = useMemo(() => readPeople(people, me), [people, me])
  const others = here.filter(({ window }) => window !== me.window)
  return (
    <>
      <header className="bar">
        <div className="title">
          <a className="home" href="../../" aria-label="Lumenize Collab">
            <svg viewBox="0 0 32 32" aria-hidden="true">
              <circle cx="12" cy="16" r="10" fill="#6d5ef6" />
              <circle cx="20" cy="16" r="10" fill="#f59e6c" fillOpacity=".85" />
            </svg>
          </a>
          <h1>Task board</h1>
          <span className="badge">React</span>
        </div>
        <ConnectionStatus />
        <span className="push" />
        <div className="avatars" role="group" aria-label="People here">
          {here.map(({ window, name, color }) => (
            <span
              key={window}
              className="avatar"
              role="img"
              aria-label={window === me.window ? `${name} (you)` : name}
              title={window === me.window ? `${name} (you)` : name}
              style={personal(color)}
            >
              {initials(name)}
            </span>
          ))}
        </div>
        <label className="name">
          <span className="dot" style={personal(me.color)} />
          <span className="visually-hidden">Your name</span>
          <input
            defaultValue={me.name}
            maxLength={40}
            spellCheck={false}
            autoComplete="off"
            onBlur={({ target }) => {
              const name = target.value.trim()
              if (name) setMe(renamed(me, name))
              else target.value = me.name
            }}
            onKeyDown={({ key, currentTarget }) => key === "Enter" && currentTarget.blur()}
          />
        </label>
      </header>
      <Board me={me} others={others} onEdit={setEditing} />
      <Conflicts />
      <footer>
        Open this page twice. Stop the server, edit on both pages, start it again: everything arrives, and where both
        changed the same, the page says so.
      </footer>
    </>
  )
}

function ConnectionStatus(): ReactElement {
  const connection = useConnection()
  const kind = connection.state === "offline" ? "offline" : connection.saved && connection.state === "connected" ? "saved" : "busy"
  return (
    <output className="status" data-state={kind}>
      {words(connection)}
    </output>
  )
}
