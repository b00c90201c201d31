/** Custom and system events. */
import type { CustomEvent, Data, LumenizeError, SystemEventType } from "@lumenize/client"
import { listen } from "@lumenize/client/stores"
import { toValue, watch, type MaybeRefOrGetter } from "vue"
import { useLumenizeClient } from "./client.js"
import { whenGone } from "./refs.js"

export interface EventOptions {
  /** Channels to join as long as the component is mounted. */
  channels?: MaybeRefOrGetter<readonly string[]>
  /** The subscription was refused, or has ended. */
  onError?: (error: LumenizeError) => void
}

/** Hear custom events of a type as long as the component is mounted. Returns a function that emits one. */
export function useLumenizeEvent(
  type: string,
  callback: (event: CustomEvent) => void,
  options: EventOptions = {},
): (event?: Data & { channels?: string[] }) => Promise<void> {
  const client = useLumenizeClient()
  let end = (): void => {}
  if (typeof window !== "undefined") {
    watch(
      () => JSON.stringify(toValue(options.channels) ?? []),
      (channels) => {
        const before = end
        end = listen(client, type, callback, JSON.parse(channels) as string[], options.onError)
        before()
      },
      { immediate: true },
    )
    whenGone(() => end())
  }
  return (event = {}) => client.events.emit({ ...event, type })
}

/** Hear what the system tells: `health`, `schema_updated`, `permissions_changed`. */
export function useSystemEvent(type: SystemEventType, callback: (event: Data) => void): void {
  const client = useLumenizeClient()
  if (typeof window !== "undefined") whenGone(client.system.subscribe(type, callback))
}
