"use client"

import { LumenizeClient } from "@lumenize/client"
import { LumenizeProvider, useDocument, useLumenizeSubscription } from "@lumenize/react"
import { useEffect, useState } from "react"

interface Task {
  title: string
}

function List() {
  const { data: tasks } = useLumenizeSubscription<Task>("tasks", { orderBy: { createdAt: "asc" } })
  const { state } = useDocument("notes")
  return (
    <>
      <ul>
        {tasks.map((task) => (
          <li key={task.id}>{task.title}</li>
        ))}
      </ul>
      <output>{state}</output>
    </>
  )
}

export function Tasks({ url }: { url: string }) {
  const [client] = useState(() => new LumenizeClient<{ tasks: Task }>({ url }))
  const [created, setCreated] = useState(0)
  const create = async () => {
    await client.tasks.create({ title: "Write it down" })
    setCreated((before) => before + 1)
  }
  useEffect(() => {
    void client.connect()
    return () => void client.disconnect()
  }, [client])
  return (
    <LumenizeProvider client={client}>
      <List />
      <button onClick={() => void create()}>New</button>
      <p id="created">{created}</p>
    </LumenizeProvider>
  )
}
