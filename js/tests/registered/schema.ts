// Written by `collab types typescript`: change the declarations instead.

export type OrderItems = {
  total: number
}

export type TasksOwnerCity = {
  code: number
}

export type TasksOwner = {
  name: string
  city?: TasksOwnerCity
}

export type Tasks = {
  title: string
  status: "open" | "done"
  done: boolean
  rank?: number
  due?: string | null
  tags: string[]
  counts?: { [name: string]: number }
  anything?: unknown
  owner: TasksOwner
}

export type Schema = {
  "order-items": OrderItems
  tasks: Tasks
}

declare module "@lumenize/client" {
  interface Register {
    schema: Schema
  }
}
