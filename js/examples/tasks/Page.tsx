import { useConnection, useLumenizeClient, usePresence } from "@lumenize/react"
import { useMemo, useState, type ReactElement } from "react"

import { kindOf, reconnectAs, words } from "../shared/client"
import { readPeople, renamed, type Me } from "../shared/me"
import { Avatar, personal } from "./Avatar"
import { Board } from "./Board"
import { useConflicts } from "./conflicts"
import { Filters } from "./Filters"
import type { Filter } from "./tasks"

export function Page({ first }: { first: Me }): ReactElement {
  const client = useLumenizeClient()
  const [me, setMe] = useState<Me>(first)
  const [editing, setEditing] = useState<string | null>(null)
  const [filter, setFilter] = useState<Filter>({})
  const { people } = usePresence("boards/tasks", { ...me, editing })
  const here = useMemo(() => readPeople(people, me), [people, me])
  const others = here.filter(({ window }) => window !== me.window)
  const connection = useConnection()
  useConflicts(me.userId)
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
        <output className="status" data-state={kindOf(connection)}>
          {words(connection)}
        </output>
        <span className="push" />
        <div className="avatars" role="group" aria-label="People here" data-stale={connection.state === "offline"}>
          {here.map((person) => (
            <Avatar key={person.window} person={person} mine={person.window === me.window} />
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
              const next = renamed(me, target.value.trim())
              target.value = next.name
              setMe(next)
              if (next.userId !== me.userId) void reconnectAs(client, next)
            }}
            onKeyDown={({ key, currentTarget }) => key === "Enter" && currentTarget.blur()}
          />
        </label>
      </header>
      <div className="above">
        <p className="lead">
          {others.length === 0
            ? "A board for a team, and nobody else is here. "
            : "Rename the same card in both windows at once, or stop the server while you work: nothing is lost, and both are told. "}
          {others.length === 0 && (
            <a href="./" target="_blank" rel="noopener">
              Open a second window
            </a>
          )}
        </p>
        <Filters me={me} others={others} filter={filter} onFilter={setFilter} />
      </div>
      <Board me={me} others={others} filter={filter} onEdit={setEditing} />
    </>
  )
}
