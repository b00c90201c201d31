/** Events: custom ones, those of entities, those of the system. */
import type { CustomEvent, Data, EntityEvent, LumenizeError, SystemEventType } from "@lumenize/client"
import { listen, listenEntities, type EntityEventOptions } from "@lumenize/client/stores"
import { toValue, type MaybeRefOrGetter } from "vue"
import { useLumenizeClient } from "./client.js"
import { whileShown, whileShownWith } from "./refs.js"

export interface EventOptions {
  /** Channels to join as long as the component is mounted. */
  channels?: MaybeRefOrGetter<readonly string[]>
  /** The subscription was refused, or has ended. Without it `client.onError` is told. */
  onError?: (error: LumenizeError) => void
}

/** Hear custom events of a type as long as the component is mounted. Returns a function that emits one. */
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

/** Hear what happens to the entity of this id, or with `*` to all of the collection. */
export function useEntityEvent<T extends Data = Data>(
  collection: string,
  id: MaybeRefOrGetter<string>,
  callback: (event: EntityEvent<T>) => void,
  options: EntityEventOptions = {},
): void {
  const client = useLumenizeClient()
  whileShownWith(
    () => toValue(id),
    (target) => listenEntities<T>(client, collection, target, callback, options),
  )
}

/** Hear what the system tells: `health`, `schema_updated`, `permissions_changed`. */
export function useSystemEvent(type: SystemEventType, callback: (event: Data) => void): void {
  const client = useLumenizeClient()
  whileShown(() => client.system.subscribe(type, callback))
}
