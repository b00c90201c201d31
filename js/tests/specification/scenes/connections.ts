import { LumenizeClient } from "@lumenize/client"

import { growing } from "../clock"
import { holds, same, spy, until } from "../expect"
import { inForce, type Stage } from "../stage"
import type { Scene } from "./index"

export function establishing(stage: Stage): Scene {
  const log = spy()
  const said = (word: string): boolean => log.calls.some(([line]) => (line as string).split(" ").at(-1) === word)
  return {
    given: { console: { log } },
    checks: [
      ({ LumenizeClient: imported }) => same(typeof imported, "function"),
      ({ client }) => {
        stage.later(() => client.disconnect())
        same(client.isConnected(), false)
      },
      ({ client }) => same(client.isConnected(), true),
      () => same(log.calls.map(([, status]) => status), [true]),
      async ({ client }) => {
        await client.disconnect()
        await client.connect()
        await until(() => said("connected"))
      },
      async ({ client }) => {
        await stage.control("interrupt")
        await until(() => said("disconnected"))
        await until(() => client.isConnected())
      },
      async () => {
        holds(!said("reconnected"), "nobody listened to the last reconnect")
        await stage.control("interrupt")
        await until(() => said("reconnected"))
      },
    ],
  }
}

export function management(stage: Stage): Scene {
  return {
    given: { LumenizeClient },
    checks: [
      async ({ client }) => {
        stage.later(() => client.disconnect())
        same(client.isConnected(), false)
        await client.connect()
        const waits = await stage.quickened(50, async (delays) => {
          await stage.control("interrupt")
          await until(() => !client.isConnected())
          await until(() => client.isConnected())
          // half a minute of silence, and the server is asked
          await until(() => stage.wire.sent("ping").length > 0)
          await until(() => client.isConnected())
          delays.length = 0
          await stage.control("cut")
          await until(() => !client.isConnected())
          same(await client.connect().catch(({ code }: { code: string }) => code), "CONNECTION_LOST")
        })
        holds(waits.length === 10, `${waits.join()} are ten`)
        holds(growing(waits, 1000, 2, 30_000), `${waits.join()} begin with a second`)
      },
      ({ client }) => {
        same(client.isConnected(), false)
        return until(() => stage.wire.last.closed === 1000).then(() => {})
      },
      async ({ client }) => {
        same(client.isConnected(), true)
        const other = await stage.other()
        const heard = spy()
        other.collection("tasks").subscribe("*", heard)
        await inForce(other)
        await client.tasks.create({ title: "mine" })
        await until(() => heard.last)
        same(heard.last.userId, "user_123")
      },
    ],
  }
}

export function reconnection(stage: Stage): Scene {
  const showOfflineMode = spy()
  return {
    given: { LumenizeClient, showOfflineMode },
    checks: [
      async ({ client }) => {
        stage.later(() => client.disconnect())
        await client.connect()
        const waits = await stage.quickened(100, async (delays) => {
          await stage.control("cut")
          await until(() => showOfflineMode.calls.length > 0, () => delays)
        })
        holds(waits.length === 10, `${waits.join()} are ten`)
        holds(growing(waits, 1000, 2, 30_000), `${waits.join()} double from a second to half a minute`)
        same(showOfflineMode.calls.length, 1)
        same(client.isConnected(), false)
      },
    ],
  }
}
