import type { EntityEvent } from "@lumenize/client"

import { ids, same, spy, until } from "../expect"
import { clear, inForce, put, witness, type Stage } from "../stage"
import type { Scene } from "./index"

export async function batching(stage: Stage): Promise<Scene> {
  const [other, client] = [await stage.other(), await stage.client()]
  const [handleTaskUpdates, handleProjectUpdates, handleNotifications] = [spy(), spy(), spy()]
  const { wire, currentUser } = stage
  const sockets = wire.sockets.length
  await clear(other, "tasks", "projects", "notifications")
  const nothing = (): void => same(wire.sent("subscribe"), [])
  return {
    given: { client, currentUser, currentTeam: { id: "team_456" }, handleTaskUpdates, handleProjectUpdates, handleNotifications },
    checks: [
      nothing,
      nothing,
      nothing,
      nothing,
      async ({ unsubscribeAll }) => {
        same(wire.sockets.length, sockets)
        const [message, ...more] = wire.sent("subscribe")
        same([message.subscriptions.length, more], [3, []])
        const task = await other.tasks.create({ assignedTo: "user_123" })
        const project = await other.projects.create({ teamId: "team_456" })
        const notification = await other.notifications.create({ userId: "user_123", read: false })
        await other.notifications.create({ userId: "user_123", read: true })
        await until(() => ids(handleTaskUpdates.last).join() === task.id)
        await until(() => ids(handleProjectUpdates.last).join() === project.id)
        await until(() => ids(handleNotifications.last).join() === notification.id)
        unsubscribeAll()
        await other.tasks.create({ assignedTo: "user_123" })
        await witness(client, other, "tasks")
        same(ids(handleTaskUpdates.last), [task.id])
      },
    ],
  }
}

export async function fields(stage: Stage): Promise<Scene> {
  const [client, other] = [await stage.client(), await stage.other()]
  const [log, updatePresenceIndicator, updateUserProfile] = [spy(), spy(), spy()]
  await put(other, "tasks", "task_123", { title: "t", status: "new" })
  await put(other, "users", "user_456", { lastSeen: 1, profile: { city: "Oslo" }, secret: 1 })
  const events = (): EntityEvent[] =>
    stage.wire.last.heard.map((frame) => JSON.parse(frame as string) as { event: EntityEvent; type: string })
      .filter(({ type }) => type === "event").map(({ event }) => event)
  // what is listened in on is the newest connection
  await client.disconnect()
  await client.connect()
  return {
    given: { client, console: { log }, updatePresenceIndicator, updateUserProfile },
    checks: [
      async () => {
        await inForce(client)
        await other.tasks.update("task_123", { title: "other" })
        await other.tasks.update("task_123", { status: "done", title: "another" })
        await until(() => log.calls.length > 0)
        same(log.calls.map(([, status]) => status), ["done"])
        // the other field did not even travel
        same(events().map(({ changes, data }) => [Object.keys(changes), Object.keys(data).sort()]), [
          [["status"], ["id", "status", "updatedAt"]],
        ])
      },
      async () => {
        await inForce(client)
        await other.users.update("user_456", { secret: 2 })
        await other.users.update("user_456", { lastSeen: 2 })
        await other.users.update("user_456", { profile: { city: "Rome" }, secret: 3 })
        await until(() => updateUserProfile.calls.length > 0)
        same([updatePresenceIndicator.calls, updateUserProfile.calls], [[[2]], [[{ city: "Rome" }]]])
        same(events().filter(({ collection, data }) => collection === "users" && "secret" in data), [])
        same(events().filter(({ collection }) => collection === "users").length, 2)
      },
    ],
  }
}

export async function conditions(stage: Stage): Promise<Scene> {
  const [client, other] = [await stage.client(), await stage.other()]
  const [handlePendingOrders, handleNewUser] = [spy(), spy()]
  await clear(other, "orders")
  let open = false
  const { currentUser } = stage
  return {
    given: { client, currentUser, handlePendingOrders, handleNewUser, isBusinessHours: () => open },
    checks: [
      async ({ businessHoursSubscription }) => {
        await other.orders.create({ status: "pending" })
        await witness(client, other, "orders")
        same(handlePendingOrders.calls, [])
        open = true
        await other.orders.create({ status: "pending" })
        await until(() => handlePendingOrders.last?.length === 2)
        same(typeof businessHoursSubscription, "function")
        businessHoursSubscription()
      },
      async ({ adminSubscription }) => {
        await inForce(client)
        await other.users.create({ name: "unseen" })
        await witness(client, other, "users")
        same(handleNewUser.calls, [])
        currentUser.role = "admin"
        await other.users.create({ name: "seen" })
        await until(() => handleNewUser.calls.length > 0)
        same(handleNewUser.calls.map(([{ name }]) => name), ["seen"])
        same(typeof adminSubscription, "function")
      },
    ],
  }
}
