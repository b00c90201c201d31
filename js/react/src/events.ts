/** Custom and system events. */
import type { CustomEvent, Data, LumenizeError, SystemEventType } from "@lumenize/client"
import { listen } from "@lumenize/client/stores"
import { useCallback, useEffect, useRef } from "react"
import { useLumenizeClient } from "./client.js"

export interface EventOptions {
  /** Channels to join as long as the component is mounted. */
  channels?: readonly string[]
  /** The subscription was refused, or has ended. */
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
  const newest = useNewest({ callback, onError: options.onError })
  const joined = JSON.stringify(options.channels ?? [])
  const listening = callback !== undefined
  useEffect(() => {
    if (!listening) return
    return listen(
      client,
      type,
      (event) => newest.current.callback?.(event),
      JSON.parse(joined) as string[],
      (error) => newest.current.onError?.(error),
    )
  }, [client, type, joined, listening, newest])
  return useCallback((event = {}) => client.events.emit({ ...event, type }), [client, type])
}

/** Hear what the system tells: `health`, `schema_updated`, `permissions_changed`. */
export function useSystemEvent(type: SystemEventType, callback: (event: Data) => void): void {
  const client = useLumenizeClient()
  const newest = useNewest(callback)
  useEffect(() => client.system.subscribe(type, (event) => newest.current(event)), [client, type, newest])
}
