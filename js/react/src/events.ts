"use client"
/** Custom events, entity events and system events. */
import type { CustomEvent, Data, EntityEvent, LumenizeError, NameOf, RowOf, SystemEventType } from "@lumenize/client"
import { listen, listenEntities, listenSystem, type EntityEventOptions } from "@lumenize/client/stores"
import { useCallback, useEffect, useRef } from "react"
import { useLumenizeClient } from "./client.js"

export interface EventOptions {
  /** Channels to join while the component is mounted. */
  channels?: readonly string[]
  /** Called if the subscription is refused or ends; by default `client.onError` is. */
  onError?: (error: LumenizeError) => void
}

function useNewest<T>(value: T): { readonly current: T } {
  const newest = useRef(value)
  useEffect(() => {
    newest.current = value
  })
  return newest
}

/** Listens to custom events of a type. Returns a function that emits one. `callback` may change with each render. */
export function useLumenizeEvent(
  type: string,
  callback?: (event: CustomEvent) => void,
  options: EventOptions = {},
): (event?: Data & { channels?: string[] }) => Promise<void> {
  const client = useLumenizeClient()
  const { onError } = options
  const newest = useNewest({ callback, onError })
  const joined = JSON.stringify(options.channels ?? [])
  const listening = callback !== undefined
  const handled = onError !== undefined
  useEffect(() => {
    if (!listening) return
    return listen(
      client,
      type,
      (event) => newest.current.callback?.(event),
      JSON.parse(joined) as string[],
      handled ? (error) => newest.current.onError?.(error) : undefined,
    )
  }, [client, type, joined, listening, handled, newest])
  return useCallback((event = {}) => client.events.emit({ ...event, type }), [client, type])
}

/** Listens to events of the entity with this id, or with `*` of all entities of the collection. */
export function useEntityEvent<T extends object = never, N extends NameOf<T> = NameOf<T>>(
  collection: N,
  id: string,
  callback: NoInfer<(event: EntityEvent<RowOf<T, N>>) => void>,
  options: NoInfer<EntityEventOptions<RowOf<T, N>>> = {},
): void {
  const client = useLumenizeClient()
  const { onError, ...rest } = options
  const newest = useNewest({ callback, onError })
  const handled = onError !== undefined
  const key = JSON.stringify(rest)
  useEffect(
    () =>
      listenEntities<T, N>(client, collection, id, (event) => newest.current.callback(event), {
        ...(JSON.parse(key) as typeof rest),
        ...(handled && { onError: (error) => newest.current.onError?.(error) }),
      }),
    [client, collection, id, key, handled, newest],
  )
}

/** Listens to system events: `health`, `schema_updated`, `permissions_changed`. */
export function useSystemEvent(type: SystemEventType, callback: (event: Data) => void): void {
  const client = useLumenizeClient()
  const newest = useNewest(callback)
  useEffect(() => listenSystem(client, type, (event) => newest.current(event)), [client, type, newest])
}
