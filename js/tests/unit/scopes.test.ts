/** Stores for Svelte and composables for Vue: what they begin ends, whatever throws. */
import { LumenizeClient } from "@lumenize/client"
import * as svelte from "@lumenize/svelte"
import * as vue from "@lumenize/vue"
import { writable } from "svelte/store"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { effectScope, nextTick, shallowRef } from "vue"
import { ScriptedSocket, settle } from "../../client/test/scripted.js"

// the packages subscribe to nothing on a server
vi.hoisted(() => Object.assign(globalThis, { window: globalThis }))

let client: LumenizeClient
const reported = vi.fn()
beforeEach(() => {
  vi.stubGlobal("reportError", reported.mockReset())
  client = new LumenizeClient({ WebSocket: ScriptedSocket.fresh() })
  svelte.setClient(client)
  vue.setClient(client)
})
afterEach(() => void vi.restoreAllMocks())

/** How many subscriptions the client has: it hides them behind a symbol. */
function subscriptions(): number {
  const [core] = Object.getOwnPropertySymbols(client) as [symbol]
  return (client as unknown as Record<symbol, { subscriptions: { size: number } }>)[core]?.subscriptions.size ?? NaN
}

describe("a Svelte store", () => {
  it("leaves no subscription behind when it cannot begin", () => {
    svelte.setClient(null)
    let subscribers = 0
    const inner = writable<string | null>("room")
    const room = {
      subscribe(run: (room: string | null) => void) {
        subscribers += 1
        const end = inner.subscribe(run)
        return () => {
          subscribers -= 1
          end()
        }
      },
    }
    expect(() => svelte.lumenizePresence(room).subscribe(() => {})).toThrow("there is no client")
    expect(subscribers).toBe(0)
  })

  it("ends what came before, and tells the other subscribers of a store, when a new value of that store is invalid", async () => {
    const room = writable<string | null>("one")
    const heard: unknown[] = []
    const end = svelte.lumenizePresence(room).subscribe(() => {})
    room.subscribe((name) => heard.push(name))
    expect(subscriptions()).toBe(1)
    room.set(5 as never)
    await settle()
    expect([subscriptions(), heard]).toEqual([0, ["one", 5]])
    expect(reported).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ code: "INVALID_REQUEST" }))
    room.set("two")
    expect([subscriptions(), heard.at(-1)]).toEqual([1, "two"])
    end()
    await settle()
    expect(subscriptions()).toBe(0)
  })

  it("ends its subscription when its subscriber throws at once", async () => {
    const fails = (): never => {
      throw new Error("mine")
    }
    expect(() => svelte.lumenizeSubscription("tasks").subscribe(fails)).toThrow("mine")
    expect(() => svelte.lumenizePresence("room", { name: "Ada" }).subscribe(fails)).toThrow("mine")
    await settle()
    expect(subscriptions()).toBe(0)
  })
})

describe("a composable for Vue", () => {
  it.each([
    ["useLumenizeSubscription", () => vue.useLumenizeSubscription("tasks")],
    ["usePresence", () => vue.usePresence("room")],
    ["useDocument", () => vue.useDocument("d")],
    ["useConnection", () => vue.useConnection()],
    ["useMetric", () => vue.useMetric("active_users")],
    ["useLumenizeEvent", () => vue.useLumenizeEvent("typing", () => {})],
    ["useEntityEvent", () => vue.useEntityEvent("tasks", "*", () => {})],
    ["useSystemEvent", () => vue.useSystemEvent("health", () => {})],
  ])("%s belongs to its scope, and is refused where nothing would end it", async (_, use) => {
    expect(use).toThrow("there is no component or effect scope")
    const scope = effectScope()
    scope.run(use)
    scope.stop()
    await settle()
    expect(subscriptions()).toBe(0)
  })

  it("ends what came before when a new value is invalid, and begins again with a valid one", async () => {
    vi.spyOn(console, "error").mockImplementation(() => {})
    vi.spyOn(console, "warn").mockImplementation(() => {})
    const room = shallowRef<string | null>("one")
    const scope = effectScope()
    scope.run(() => vue.usePresence(room))
    expect(subscriptions()).toBe(1)
    room.value = 5 as never
    await nextTick().catch(() => {})
    await settle()
    expect(subscriptions()).toBe(0)
    room.value = "two"
    await nextTick()
    expect(subscriptions()).toBe(1)
    scope.stop()
    await settle()
    expect(subscriptions()).toBe(0)
  })
})
