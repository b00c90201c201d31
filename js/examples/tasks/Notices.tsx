import { createContext, useContext, useEffect, useMemo, useState, type ReactElement, type ReactNode } from "react"

/** A notice, with possible actions. */
export interface Notice {
  kind: "conflict" | "done" | "problem"
  title: string
  text?: string
  actions?: readonly { label: string; run: () => void }[]
}

interface Notify {
  (notice: Notice): void
  /** Shows the error of a rejected promise. The rows show the server's state again. */
  problem: (error: Error) => void
}

const Context = createContext<Notify | null>(null)

export function useNotify(): Notify {
  const notify = useContext(Context)
  if (notify === null) throw new Error("there are no notices around this component")
  return notify
}

/** How long a notice without actions stays. */
const SECONDS = 10

let next = 1

export function Notices({ children }: { children: ReactNode }): ReactElement {
  const [shown, setShown] = useState<readonly (Notice & { number: number })[]>([])
  const notify = useMemo(() => {
    const add = (notice: Notice): void => setShown((before) => [...before, { ...notice, number: next++ }].slice(-4))
    return Object.assign(add, {
      problem: (error: Error) => add({ kind: "problem", title: "That could not be done.", text: error.message }),
    })
  }, [])
  const drop = (number: number): void => setShown((before) => before.filter((each) => each.number !== number))
  return (
    <Context value={notify}>
      {children}
      <div className="notices" role="status" aria-label="Notices">
        {shown.map((notice) => (
          <Shown key={notice.number} notice={notice} onDrop={() => drop(notice.number)} />
        ))}
      </div>
    </Context>
  )
}

function Shown({ notice, onDrop }: { notice: Notice; onDrop: () => void }): ReactElement {
  const { kind, title, text, actions = [] } = notice
  useEffect(() => {
    if (kind === "conflict") return // stays until the user decides
    const timer = setTimeout(onDrop, SECONDS * 1000)
    return () => clearTimeout(timer)
    // only once: the time runs from the first rendering
  }, [])
  return (
    <div className="toast card arrive" data-kind={kind}>
      <p>
        <strong>{title}</strong> {text}
      </p>
      <div className="actions">
        {actions.map(({ label, run }) => (
          <button
            key={label}
            type="button"
            onClick={() => {
              run()
              onDrop()
            }}
          >
            {label}
          </button>
        ))}
        <button type="button" className={kind === "conflict" ? "primary" : ""} onClick={onDrop}>
          {kind === "conflict" ? "Leave it" : "Dismiss"}
        </button>
      </div>
    </div>
  )
}
