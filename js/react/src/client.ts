"use client"
/** The client that the hooks use. */
import type { Client, LumenizeClient, Registered } from "@lumenize/client"
import { createContext, createElement, useContext, type ReactElement, type ReactNode } from "react"

const Context = createContext<Client | null>(null)
let fallback: Client | null = null

/** Sets the client of all components below. */
export function LumenizeProvider({ client, children }: { client: Client; children?: ReactNode }): ReactElement {
  return createElement(Context.Provider, { value: client }, children)
}

/** Sets the client of components without a provider; `null` removes it. On a server use a provider. */
export function setClient(client: Client | null): void {
  fallback = client
}

/** The client of the nearest provider, else that of `setClient`. Throws if there is neither. */
export function useLumenizeClient<C = Registered>(): LumenizeClient<C> {
  const client = useContext(Context) ?? fallback
  if (client === null) throw new Error("there is no client: wrap the component in <LumenizeProvider client={…}>, or call setClient(…)")
  return client as LumenizeClient<C>
}
