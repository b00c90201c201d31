/** Events: custom ones, those of entities, those of the system. */
import type { CustomEvent, Data, EntityEvent, LumenizeError, SystemEventType } from "@lumenize/client"
import { listen, listenEntities, type EntityEventOptions } from "@lumenize/client/stores"
import { onMount } from "svelte"
import { laterClient } from "./client.js"

export interface EventOptions {
  /** Channels to join as long as the component is mounted. */
  channels?: readonly string[]
  /** The subscription was refused, or has ended. Without it `client.onError` is told. */
  onError?: (error: LumenizeError) => void
}

/** Hear custom events of a type as long as this component is mounted. Returns a function that emits one. */
export function onLumenizeEvent(
  type: string,
  callback?: (event: CustomEvent) => void,
  options: EventOptions = {},
): (event?: Data & { channels?: string[] }) => Promise<void> {
  const client = laterClient()
  if (callback) onMount(() => listen(client(), type, callback, options.channels, options.onError))
  return (event = {}) => client().events.emit({ ...event, type })
}

/** Hear what happens to the entity of this id, or with `*` to all of the collection, as long as this component is mounted. */
export function onEntityEvent<T extends Data = Data>(
  collection: string,
  id: string,
  callback: (event: EntityEvent<T>) => void,
  options: EntityEventOptions = {},
): void {
  const client = laterClient()
  onMount(() => listenEntities<T>(client(), collection, id, callback, options))
}

/** Hear what the system tells (`health`, `schema_updated`, `permissions_changed`) as long as this component is mounted. */
export function onSystemEvent(type: SystemEventType, callback: (event: Data) => void): void {
  const client = laterClient()
  onMount(() => client().system.subscribe(type, callback))
}
