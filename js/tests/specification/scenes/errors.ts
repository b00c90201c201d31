import { same, spy, until } from "../expect"
import { GUEST, inForce, type Stage } from "../stage"
import type { Scene } from "./index"

export async function connection(stage: Stage): Promise<Scene> {
  const client = await stage.client({ websocket: { subscriptionRateLimit: { maxSubscriptions: 3 } } })
  const [error, showConnectionLostBanner, redirectToLogin, showRateLimitWarning] = [spy(), spy(), spy(), spy()]
  const all = [showConnectionLostBanner, redirectToLogin, showRateLimitWarning, error]
  const only = async (expected: (typeof all)[number]): Promise<void> => {
    await until(() => expected.calls.length > 0)
    same(all.map((each) => each.calls.length), all.map((each) => (each === expected ? 1 : 0)))
    expected.calls.length = 0
  }
  return {
    given: { client, showConnectionLostBanner, redirectToLogin, showRateLimitWarning, console: { error } },
    checks: [
      async () => {
        const end = client.secrets.subscribe("*", () => {}) // which this user may not read
        await until(() => error.calls.length > 0)
        same(error.calls[0]?.[1].cause, "PERMISSION_DENIED")
        await only(error)
        end()
        const ends = [1, 2, 3, 4].map(() => client.tasks.subscribe("*", () => {}))
        await only(showRateLimitWarning)
        for (const each of ends) each()
        await inForce(client)
        await stage.control("interrupt")
        await only(showConnectionLostBanner)
        await until(() => client.isConnected())
        await client.disconnect()
        await client.connect({ token: "not a token" }).catch(() => {})
        await only(redirectToLogin)
      },
    ],
  }
}

export async function subscription(stage: Stage): Promise<Scene> {
  const client = await stage.client({ token: GUEST, userId: "guest" })
  const [log, error, elsewhere] = [spy(), spy(), spy()]
  client.onError(elsewhere)
  return {
    given: { client, console: { log, error } },
    checks: [
      async () => {
        await until(() => log.calls.length > 0)
        same([log.calls.length, error.calls.length], [1, 1])
        same([error.calls[0]?.[1].code, error.calls[0]?.[1].type], ["PERMISSION_DENIED", "PERMISSION_DENIED"])
        same(elsewhere.calls, []) // whoever listens to a subscription's errors need not listen to them twice
      },
    ],
  }
}
