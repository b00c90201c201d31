import type { ReactElement } from "react"

import type { Me, Somebody } from "../shared/me"
import { COLUMNS, type Filter } from "./tasks"

interface FiltersProps {
  me: Me
  others: Somebody[]
  filter: Filter
  onFilter: (filter: Filter) => void
}

/** The filter of the board: each choice is a separate live query. */
export function Filters({ me, others, filter, onFilter }: FiltersProps): ReactElement {
  const { person, status } = filter
  const names = new Set([me.name, ...others.map(({ name }) => name), "Ada", "Alan", "Grace"])
  if (typeof person === "string") names.add(person)
  return (
    <div className="filters">
      <select
        aria-label="Whose tasks"
        value={person === undefined ? "all" : person === null ? "none" : `@${person}`}
        onChange={({ target: { value } }) => {
          const { person: _, ...rest } = filter
          onFilter(value === "all" ? rest : { ...rest, person: value === "none" ? null : value.slice(1) })
        }}
      >
        <option value="all">Everybody’s</option>
        <option value="none">Nobody’s</option>
        {[...names].map((name) => (
          <option key={name} value={`@${name}`}>
            {name === me.name ? "Mine" : name}
          </option>
        ))}
      </select>
      <div className="choice" role="group" aria-label="Which columns">
        {[{ status: undefined, title: "All" }, ...COLUMNS].map((column) => (
          <button
            key={column.title}
            type="button"
            aria-pressed={column.status === status}
            onClick={() => {
              const { status: _, ...rest } = filter
              onFilter(column.status === undefined ? rest : { ...rest, status: column.status })
            }}
          >
            {column.title}
          </button>
        ))}
      </div>
    </div>
  )
}
