/** Events: custom ones, those of entities, those of the system. */
import type { CustomEvent, Data, EntityEvent, LumenizeError, SystemEventType } from "@lumenize/client"
import { listen, listenEntities, type EntityEventOptions } from "@lumenize/client/stores"
import { useCallback, useEffect, useRef } from "react"
import { useLumenizeClient } from "./client.js"

export interface EventOptions {
  /** Channels to join as long as the component is mounted. */
  channels?: readonly string[]
  /** The subscription was refused, or has ended. Without it `client.onError` is told. */
  onError?: (error: LumenizeError) => void
}

function useNewest<T>(value: T): { readonly current: T } {
  const newest = useRef(value)
  useEffect(() => {
    newest.current = value
  })
  return newest
}

/** Hear custom events of a type. Returns a function that emits one; `callback` may be made anew in each render. */
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

/** Hear what happens to the entity of this id, or with `*` to all of the collection. */
export function useEntityEvent<T extends Data = Data>(
  collection: string,
  id: string,
  callback: (event: EntityEvent<T>) => void,
  options: EntityEventOptions = {},
): void {
  const client = useLumenizeClient()
  const { onError, ...rest } = options
  const newest = useNewest({ callback, onError })
  const handled = onError !== undefined
  const key = JSON.stringify(rest)
  useEffect(
    () =>
      listenEntities<T>(client, collection, id, (event) => newest.current.callback(event), {
        ...(JSON.parse(key) as typeof rest),
        ...(handled && { onError: (error) => newest.current.onError?.(error) }),
      }),
    [client, collection, id, key, handled, newest],
  )
}

/** Hear what the system tells: `health`, `schema_updated`, `permissions_changed`. */
export function useSystemEvent(type: SystemEventType, callback: (event: Data) => void): void {
  const client = useLumenizeClient()
  const newest = useNewest(callback)
  useEffect(() => client.system.subscribe(type, (event) => newest.current(event)), [client, type, newest])
}
