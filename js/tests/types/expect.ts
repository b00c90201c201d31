export interface Task {
  title: string
  status: "open" | "done"
  assignedTo?: string
}

export interface Message {
  text: string
}

/** The collections of an application. */
export interface Schema {
  tasks: Task
  messages: Message
}

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false

/** `same<typeof value, Type>(true)`: the value is of exactly this type, and not `any`. */
export function same<A, B>(_: Same<A, B>): void {}
