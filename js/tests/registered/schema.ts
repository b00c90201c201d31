// Written by `collab types typescript`: change the declarations instead.

export type Comments = {
  taskId: string
  text: string
  at?: number
}

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
  ownerId?: string
  tags: string[]
  counts?: { [name: string]: number }
  anything?: unknown
  owner: TasksOwner
} & import("@lumenize/client").Relates<{
  assignee: Users | null
  comments: Comments[]
  files: Record<string, any>[]
}>

export type Users = {
  name: string
  age?: number
} & import("@lumenize/client").Relates<{
  tasks: Tasks[]
}>

export type Schema = {
  comments: Comments
  "order-items": OrderItems
  tasks: Tasks
  users: Users
}

declare module "@lumenize/client" {
  interface Register {
    schema: Schema
  }
}
