/** The client that the composables use. */
import type { Client, LumenizeClient, Registered } from "@lumenize/client"
import { hasInjectionContext, inject, provide, toRaw, type InjectionKey, type Plugin } from "vue"

const KEY: InjectionKey<Client> = Symbol("lumenize")
let fallback: Client | null = null

/** A plugin: `app.use(lumenize, client)` sets the client of the whole app. */
export const lumenize: Plugin<[Client]> = {
  install(app, client) {
    app.provide(KEY, toRaw(client))
  },
}

/** Sets the client of all components below this one. */
export function provideClient(client: Client): void {
  provide(KEY, toRaw(client))
}

/** Sets the client of everything that has no other; `null` removes it. On a server use the plugin. */
export function setClient(client: Client | null): void {
  fallback = toRaw(client)
}

/** The client of the nearest `provideClient`, else the plugin's, else that of `setClient`. Throws if there is none. */
export function useLumenizeClient<C = Registered>(): LumenizeClient<C> {
  const client = (hasInjectionContext() ? inject(KEY, null) : null) ?? fallback
  if (client === null) throw new Error("there is no client: call app.use(lumenize, client), provideClient(…) or setClient(…)")
  return client as LumenizeClient<C>
}
