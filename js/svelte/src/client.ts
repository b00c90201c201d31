/** The client that the stores use. */
import type { Client, LumenizeClient, Registered } from "@lumenize/client"
import { getContext, setContext } from "svelte"

const KEY = Symbol("lumenize")
let fallback: Client | null = null

/** Sets the client of everything that has no other; `null` removes it. On a server use `provideClient`. */
export function setClient(client: Client | null): void {
  fallback = client
}

/** Sets the client of this component and all below it. Call it while a component is initialized. */
export function provideClient(client: Client): void {
  setContext(KEY, client)
}

/** The client of the nearest `provideClient`, else that of `setClient`; `null` if there is neither. */
function findClient(): Client | null {
  try {
    return getContext<Client | undefined>(KEY) ?? fallback
  } catch {
    return fallback // outside components there is no context
  }
}

/** The client of the nearest `provideClient`, else that of `setClient`. Throws if there is neither. */
export function useClient<C = Registered>(): LumenizeClient<C> {
  return required(findClient()) as LumenizeClient<C>
}

/** Returns the client lazily: a module may create a store before `setClient`. */
export function laterClient(): () => Client {
  const found = findClient()
  return () => required(found ?? fallback)
}

function required(client: Client | null): Client {
  if (client === null) throw new Error("there is no client: call setClient(…) or provideClient(…) first")
  return client
}
