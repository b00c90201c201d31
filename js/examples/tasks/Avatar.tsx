import type { CSSProperties, ReactElement } from "react"

import { initials } from "../shared/me"

export const personal = (color: string): CSSProperties => ({ "--person": color }) as CSSProperties

export function Avatar({ person, mine }: { person: { name: string; color: string }; mine: boolean }): ReactElement {
  const said = mine ? `${person.name} (you)` : person.name
  return (
    <span className="avatar arrive" role="img" aria-label={said} title={said} style={personal(person.color)}>
      {initials(person.name)}
    </span>
  )
}
