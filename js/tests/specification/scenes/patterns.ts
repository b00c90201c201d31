import type { CustomEvent, Data, Person } from "@lumenize/client"

import { ids, same, spy, until } from "../expect"
import { clear, inForce, put, witness, type Stage } from "../stage"
import type { Scene } from "./index"

export async function chat(stage: Stage): Promise<Scene> {
  const [client, other] = [await stage.client(), await stage.other()]
  const [updateChatUI, showTypingIndicator, hears] = [spy(), spy(), spy()]
  await clear(other, "messages")
  const shown = (): string[] => ((updateChatUI.last ?? []) as Data[]).map(({ text }) => text as string)
  return {
    given: { client, currentUser: stage.currentUser, updateChatUI, showTypingIndicator, debounce },
    checks: [
      async ({ unsubscribe }) => {
        same(typeof unsubscribe, "function")
        await until(() => updateChatUI.calls.length > 0)
        await other.messages.create({ chatId: "chat_124", text: "elsewhere" })
        for (let count = 1; count <= 51; count++) await other.messages.create({ chatId: "chat_123", text: `${count}` })
        await until(() => shown()[0] === "51", shown)
        same([shown().length, shown().at(-1)], [50, "2"])
      },
      async ({ sendMessage }) => {
        const sent = sendMessage("hello") as Promise<void>
        same(shown()[0], "hello") // before the server has said so
        await sent
        const message = (await other.messages.findMany({ where: { text: "hello" } }))[0]
        same([message?.["chatId"], message?.["authorId"]], ["chat_123", "user_123"])
        await until(() => ids(updateChatUI.last)[0] === message?.id)
      },
      async () => {
        await inForce(client)
        await other.events.emit({ type: "user_typing", chatId: "chat_124", userId: "user_456" })
        await other.events.emit({ type: "user_typing", chatId: "chat_123", userId: "user_456" })
        await until(() => showTypingIndicator.calls.length > 0)
        same(showTypingIndicator.calls, [["user_456"]])
      },
      async ({ handleTyping }) => {
        other.events.subscribe("user_typing", hears)
        await inForce(other)
        for (let key = 0; key < 3; key++) handleTyping()
        await until(() => hears.calls.length > 0)
        const { chatId, userId } = hears.last as CustomEvent
        same([hears.calls.length, chatId, userId], [1, "chat_123", "user_123"])
      },
    ],
  }
}

function debounce(call: () => void, milliseconds: number): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined
  return () => {
    clearTimeout(timer)
    timer = setTimeout(call, milliseconds)
  }
}

export async function dashboard(stage: Stage): Promise<Scene> {
  const [client, other] = [await stage.client(), await stage.other()]
  const [updateActiveUsersWidget, updateRecentOrdersList, updateRevenueChart, updateHealthIndicators] = [spy(), spy(), spy(), spy()]
  await clear(other, "orders")
  return {
    given: {
      client,
      updateActiveUsersWidget,
      updateRecentOrdersList,
      updateRevenueChart,
      updateHealthIndicators,
      startOfDay: (date: Date) => new Date(date.getFullYear(), date.getMonth(), date.getDate()),
      calculateRevenue: (orders: Data[]) => orders.reduce((sum, { total }) => sum + (total as number), 0),
    },
    checks: [
      ({ subscriptions }) => same(subscriptions, []),
      async ({ subscriptions }) => {
        same(subscriptions.length, 1)
        await until(() => updateActiveUsersWidget.last === 2, () => updateActiveUsersWidget.calls)
        await other.disconnect()
        await until(() => updateActiveUsersWidget.last === 1)
        await other.connect()
        await until(() => updateActiveUsersWidget.last === 2)
      },
      async () => {
        await until(() => updateRecentOrdersList.calls.length > 0)
        const first = await other.orders.create({ total: 100 })
        const second = await other.orders.create({ total: 20 })
        await until(() => updateRevenueChart.last === 120)
        same(ids(updateRecentOrdersList.last), [second.id, first.id])
      },
      async () => {
        await until(() => updateHealthIndicators.last)
        same([updateHealthIndicators.last.type, updateHealthIndicators.last.state], ["health", "ok"])
      },
      async ({ subscriptions, cleanup }) => {
        same(subscriptions.length, 3)
        cleanup()
        const calls = updateRecentOrdersList.calls.length
        await witness(client, other, "orders")
        same(updateRecentOrdersList.calls.length, calls)
      },
    ],
  }
}

export async function editing(stage: Stage): Promise<Scene> {
  const [client, other] = [await stage.client({ conflicts: "reject" }), await stage.other()]
  const [applyChanges, applyChangesLocally, resolveConflict, revertChanges, updateActiveEditors] = [spy(), spy(), spy(), spy(), spy()]
  await put(other, "documents", "doc_123", { title: "draft", body: "" })
  await client.documents.findById("doc_123")
  return {
    given: { client, currentUser: stage.currentUser, applyChanges, applyChangesLocally, resolveConflict, revertChanges, updateActiveEditors },
    checks: [
      ({ documentId }) => same(documentId, "doc_123"),
      async () => {
        await inForce(client)
        await client.documents.update("doc_123", { title: "mine" })
        await other.documents.update("doc_123", { title: "theirs" })
        await until(() => applyChanges.calls.length > 0)
        same(applyChanges.calls, [[{ title: { from: "mine", to: "theirs" } }]])
      },
      async ({ updateDocument }) => {
        await updateDocument({ body: "written" })
        same(applyChangesLocally.calls, [[{ body: "written" }]])
        same((await other.documents.findById("doc_123"))["body"], "written")
        same([resolveConflict.calls, revertChanges.calls], [[], []])
        // somebody else writes the same while there is no connection
        await stage.control("cut")
        await until(() => !client.isConnected())
        await other.documents.update("doc_123", { title: "theirs again" })
        const writing = updateDocument({ title: "mine again" }) as Promise<void>
        await stage.control("mend")
        await writing
        same(resolveConflict.calls.map(([latest, changes]) => [latest.title, latest.body, changes]), [
          ["theirs again", "written", { title: "mine again" }],
        ])
        same(revertChanges.calls, [])
        await other.documents.delete("doc_123")
        await updateDocument({ body: "too late" })
        same([resolveConflict.calls.length, revertChanges.calls], [1, [[{ body: "too late" }]]])
        await other.documents.restore("doc_123")
      },
      async () => {
        await until(() => updateActiveEditors.calls.length > 0)
        await other.presence.join("doc_123", { cursor: { line: 1, column: 2 } })
        await until(() => people(updateActiveEditors.last).join() === "user_456")
        await other.presence.leave("doc_123")
        await until(() => updateActiveEditors.last.length === 0)
      },
      async () => {
        const seen = spy()
        other.presence.subscribe("doc_123", seen)
        await until(() => people(seen.last).join() === "user_123")
        same((seen.last as Person[])[0]?.["cursor"], { line: 10, column: 5 })
        await until(() => people(updateActiveEditors.last).includes("user_123"))
      },
    ],
  }
}

function people(found: Person[] | undefined): (string | null)[] {
  return (found ?? []).map(({ userId }) => userId)
}
