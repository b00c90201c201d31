/** Which client the stores use. */
import type { Client, LumenizeClient } from "@lumenize/client"
import { getContext, setContext } from "svelte"

const KEY = Symbol("lumenize")
let fallback: Client | null = null

/** The client of everything that has no other; `null` takes it away. On a server use `provideClient`. */
export function setClient(client: Client | null): void {
  fallback = client
}

/** The client of this component and all below it. Call it while a component is initialized. */
export function provideClient(client: Client): void {
  setContext(KEY, client)
}

/** The client of the nearest `provideClient`, else that of `setClient`; `null` if there is neither. */
function findClient(): Client | null {
  try {
    return getContext<Client | undefined>(KEY) ?? fallback
  } catch {
    return fallback // outside of components there is no context
  }
}

/** The client of the nearest `provideClient`, else that of `setClient`. Throws if there is neither. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export function useClient<C = any>(): LumenizeClient<C> {
  return required(findClient()) as LumenizeClient<C>
}

/** Gives the client when it is needed: a store may be made in a module, before `setClient`. */
export function laterClient(): () => Client {
  const found = findClient()
  return () => required(found ?? fallback)
}

function required(client: Client | null): Client {
  if (client === null) throw new Error("there is no client: call setClient(…) or provideClient(…) first")
  return client
}
