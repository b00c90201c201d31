/** Custom events, entity events and system events. */
import type { CustomEvent, Data, EntityEvent, LumenizeError, NameOf, RowOf, SystemEventType } from "@lumenize/client"
import { listen, listenEntities, listenSystem, type EntityEventOptions } from "@lumenize/client/stores"
import { toValue, type MaybeRefOrGetter } from "vue"
import { useLumenizeClient } from "./client.js"
import { whileShown, whileShownWith } from "./refs.js"

export interface EventOptions {
  /** Channels to join while the component is mounted. */
  channels?: MaybeRefOrGetter<readonly string[]>
  /** Called if the subscription is refused or ends; by default `client.onError` is. */
  onError?: (error: LumenizeError) => void
}

/** Listens to custom events of a type while the component is mounted. Returns a function that emits one. */
export function useLumenizeEvent(
  type: string,
  callback?: (event: CustomEvent) => void,
  options: EventOptions = {},
): (event?: Data & { channels?: string[] }) => Promise<void> {
  const client = useLumenizeClient()
  if (callback !== undefined) {
    whileShownWith(
      () => JSON.stringify(toValue(options.channels) ?? []),
      (channels) => listen(client, type, callback, JSON.parse(channels) as string[], options.onError),
    )
  }
  return (event = {}) => client.events.emit({ ...event, type })
}

/** Listens to events of the entity with this id, or with `*` of all entities of the collection. */
export function useEntityEvent<T extends object = never, N extends NameOf<T> = NameOf<T>>(
  collection: N,
  id: MaybeRefOrGetter<string>,
  callback: NoInfer<(event: EntityEvent<RowOf<T, N>>) => void>,
  options: NoInfer<EntityEventOptions<RowOf<T, N>>> = {},
): void {
  const client = useLumenizeClient()
  whileShownWith(
    () => toValue(id),
    (target) => listenEntities<T, N>(client, collection, target, callback, options),
  )
}

/** Listens to system events: `health`, `schema_updated`, `permissions_changed`. */
export function useSystemEvent(type: SystemEventType, callback: (event: Data) => void): void {
  const client = useLumenizeClient()
  whileShown(() => listenSystem(client, type, callback))
}
