import type { ReactElement } from "react"

export default function TaskItem({ task }: { task: { title: string } }): ReactElement {
  return <p className="task">{task.title}</p>
}
