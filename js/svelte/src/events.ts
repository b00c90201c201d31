/** Custom and system events. */
import type { CustomEvent, Data, LumenizeError, SystemEventType } from "@lumenize/client"
import { listen } from "@lumenize/client/stores"
import { onMount } from "svelte"
import { laterClient } from "./client.js"

export interface EventOptions {
  /** Channels to join as long as the component is mounted. */
  channels?: readonly string[]
  /** The subscription was refused, or has ended. */
  onError?: (error: LumenizeError) => void
}

/** Hear custom events of a type as long as this component is mounted. Returns a function that emits one. */
export function onLumenizeEvent(
  type: string,
  callback: (event: CustomEvent) => void,
  options: EventOptions = {},
): (event?: Data & { channels?: string[] }) => Promise<void> {
  const client = laterClient()
  onMount(() => listen(client(), type, callback, options.channels, options.onError))
  return (event = {}) => client().events.emit({ ...event, type })
}

/** Hear what the system tells (`health`, `schema_updated`, `permissions_changed`) as long as this component is mounted. */
export function onSystemEvent(type: SystemEventType, callback: (event: Data) => void): void {
  const client = laterClient()
  onMount(() => client().system.subscribe(type, callback))
}
