/** Custom events, entity events and system events. */
import type { CustomEvent, Data, EntityEvent, LumenizeError, NameOf, RowOf, SystemEventType } from "@lumenize/client"
import { listen, listenEntities, listenSystem, type EntityEventOptions } from "@lumenize/client/stores"
import { onMount } from "svelte"
import { laterClient } from "./client.js"

export interface EventOptions {
  /** Channels to join while the component is mounted. */
  channels?: readonly string[]
  /** Called if the subscription is refused or ends; by default `client.onError` is. */
  onError?: (error: LumenizeError) => void
}

/** Listens to custom events of a type while this component is mounted. Returns a function that emits one. */
export function onLumenizeEvent(
  type: string,
  callback?: (event: CustomEvent) => void,
  options: EventOptions = {},
): (event?: Data & { channels?: string[] }) => Promise<void> {
  const client = laterClient()
  if (callback) onMount(() => listen(client(), type, callback, options.channels, options.onError))
  return (event = {}) => client().events.emit({ ...event, type })
}

/** Listens to events of the entity with this id, or with `*` of all of the collection, while this component is mounted. */
export function onEntityEvent<T extends object = never, N extends NameOf<T> = NameOf<T>>(
  collection: N,
  id: string,
  callback: NoInfer<(event: EntityEvent<RowOf<T, N>>) => void>,
  options: NoInfer<EntityEventOptions<RowOf<T, N>>> = {},
): void {
  const client = laterClient()
  onMount(() => listenEntities<T, N>(client(), collection, id, callback, options))
}

/** Listens to system events (`health`, `schema_updated`, `permissions_changed`) while this component is mounted. */
export function onSystemEvent(type: SystemEventType, callback: (event: Data) => void): void {
  const client = laterClient()
  onMount(() => listenSystem(client(), type, callback))
}
