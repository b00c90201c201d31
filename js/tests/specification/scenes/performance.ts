import { LumenizeClient } from "@lumenize/client"

import { holds, same, spy, until } from "../expect"
import { clear, inForce, witness, type Stage } from "../stage"
import type { Scene } from "./index"

export async function memory(stage: Stage): Promise<Scene> {
  const [other, client] = [await stage.other(), await stage.client()]
  const heard = spy()
  return {
    given: { client },
    checks: [
      ({ subscriptions }) => same(subscriptions.size, 0),
      async ({ addSubscription, subscriptions }) => {
        const unsubscribe = addSubscription("tasks", "*", heard)
        addSubscription("users", {}, heard)
        same(subscriptions.size, 2)
        await inForce(client)
        await other.tasks.create({ title: "heard of" })
        await until(() => heard.calls.some(([what]) => what.type === "created"))
        unsubscribe()
      },
      async ({ addSubscription, subscriptions, cleanup }) => {
        addSubscription("tasks", "*", heard)
        cleanup()
        same(subscriptions.size, 0)
        heard.calls.length = 0
        await witness(client, other, "tasks")
        same(heard.calls, [])
      },
      async ({ addSubscription, subscriptions }) => {
        addSubscription("tasks", "*", heard)
        await inForce(client)
        // as a browser does when the page goes
        window.dispatchEvent(new Event("beforeunload"))
        same(subscriptions.size, 0)
        await witness(client, other, "tasks")
        same(heard.calls, [])
        const subscribed = stage.wire.sent("subscribe").flatMap(({ subscriptions: all }) => all as { sub: number }[])
        const ended = stage.wire.sent("unsubscribe").flatMap(({ subs }) => subs as number[])
        same(subscribed.map(({ sub }) => sub), [...ended].sort((one, two) => one - two))
      },
    ],
  }
}

export function rates(stage: Stage): Scene {
  return {
    given: { LumenizeClient },
    checks: [
      async ({ client }) => {
        stage.later(() => client.disconnect())
        const errors = spy()
        client.onError(errors)
        await client.connect()
        const { limits } = await stage.wire.hears("welcome") // the server would allow more
        same([limits.maxSubscriptions, limits.maxEventsPerSecond], [100, 1000])
        const ends = Array.from({ length: 100 }, () => client.tasks.subscribe("*", () => {}))
        await client.tasks.count()
        same(errors.calls, [])
        client.tasks.subscribe("*", () => {})
        await until(() => errors.last)
        same([errors.last.code, errors.last.details.limit], ["RATE_LIMIT_EXCEEDED", 100])
        for (const end of ends) end()
      },
    ],
  }
}

export async function bandwidth(stage: Stage): Promise<Scene> {
  const other = await stage.other()
  const handleTasks = spy()
  await clear(other, "tasks")
  return {
    given: { LumenizeClient, currentUser: stage.currentUser, handleTasks },
    checks: [
      async ({ client }) => {
        stage.later(() => client.disconnect())
        await client.connect()
        await client.tasks.create({ title: "t".repeat(1000), tags: ["a", null, 1.5] })
        const { socket, sent, heard } = stage.wire.last
        holds(socket.extensions.startsWith("permessage-deflate"), "compression was negotiated")
        const frames = [...sent, ...heard]
        holds(frames.length >= 4, "both sides have spoken")
        same(frames.filter((frame) => typeof frame === "string"), [])
      },
      async () => {
        await until(() => handleTasks.calls.length > 0)
        const { id } = await other.tasks.create({ assignedTo: "user_123", title: "t", status: "new", large: "x".repeat(1000) })
        await until(() => handleTasks.last.length === 1)
        same(handleTasks.last, [{ id, title: "t", status: "new" }])
        const calls = handleTasks.calls.length
        await other.tasks.update(id, { large: "y" })
        await other.tasks.update(id, { title: "u" })
        await until(() => handleTasks.last[0].title === "u")
        same(handleTasks.calls.length, calls + 1)
      },
    ],
  }
}
