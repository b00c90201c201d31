/** Custom events, system events, entity events and metrics, for components. */
import type { Client, CustomEvent, SystemEventType } from "../client.js"
import { CORE } from "../core.js"
import type { LumenizeError } from "../errors.js"
import { frozen } from "../frozen.js"
import { lasting, liveStore, perClient, type Store } from "../shared-store.js"
import type { Field } from "../queries.js"
import type { Data, NameOf, RowOf } from "../schema.js"
import type { EntityEvent, Shown, Unsubscribe } from "../types.js"

export interface MetricState {
  /** The number; `null` before the first answer. */
  value: number | null
  loading: boolean
  /** Why there is no number, or no updates. */
  error: LumenizeError | null
}

export const UNMEASURED: MetricState = frozen({ value: null, loading: true, error: null })

/** A number that the server sends after each change. */
export function metricStore(client: Client, metric: "active_users"): Store<MetricState> {
  return liveStore(client, `metric ${metric}`, UNMEASURED, (tell, onError) =>
    client.analytics.subscribe(metric, (value) => tell({ value }), { onError }),
  )
}

/** Joined channels: the number of users of each, and the answer to the join. */
const channels = perClient(() => new Map<string, { wanted: number; joined: Promise<void> | null }>())

/** Joins a channel while it has users. If joining is refused, all of them get the error. */
function inChannel(client: Client, channel: string, failed: (error: LumenizeError) => void): Unsubscribe {
  const all = channels(client)
  const it = all.get(channel) ?? { wanted: 0, joined: null }
  all.set(channel, it)
  it.wanted += 1
  const joined = (it.joined ??= client.events.join(channel))
  joined.catch((error: LumenizeError) => {
    if (it.joined === joined) it.joined = null
    if (error.code !== "CONNECTION_LOST") failed(error)
  })
  return () => {
    it.wanted -= 1
    queueMicrotask(() => {
      if (it.wanted > 0 || all.get(channel) !== it) return
      all.delete(channel)
      if (it.joined !== null) client.events.leave(channel).catch((error: LumenizeError) => error.code === "CONNECTION_LOST" || client[CORE].fail(error))
    })
  }
}

/** Listens to custom events, and joins the channels in `join` meanwhile. */
export function listen(
  client: Client,
  type: string,
  callback: (event: CustomEvent) => void,
  join: readonly string[] = [],
  onError?: (error: LumenizeError) => void,
): Unsubscribe {
  const stops = [
    ...join.map((channel) => lasting(client, onError, (failed) => inChannel(client, channel, failed))),
    lasting(client, onError, (onError) => client.events.subscribe(type, callback, { onError })),
  ]
  return () => stops.forEach((stop) => stop())
}

/** Listens to system events: `health`, `schema_updated`, `permissions_changed`. */
export function listenSystem(client: Client, type: SystemEventType, callback: (event: Data) => void): Unsubscribe {
  return lasting(client, undefined, (onError) => client.system.subscribe(type, callback, { onError }))
}

export interface EntityEventOptions<T = Data> {
  /** Only changes of these fields; events contain only these. */
  fields?: readonly Field<T>[]
  /** Whether each event includes this user's permissions for its entity. */
  includePermissions?: boolean
  /** Called if the subscription is refused or ends; by default `client.onError` is. */
  onError?: (error: LumenizeError) => void
}

/** Listens to events of one entity, or of all entities of a collection (`*`). */
export function listenEntities<T extends object = never, N extends NameOf<T> = NameOf<T>>(
  client: Client,
  collection: N,
  target: string,
  callback: NoInfer<(event: Shown<EntityEvent<RowOf<T, N>>>) => void>,
  options: NoInfer<EntityEventOptions<RowOf<T, N>>> = {},
): Unsubscribe {
  return lasting(client, options.onError, (onError) =>
    client.collection<Data>(collection).subscribe(target, callback as (event: Shown<EntityEvent>) => void, { ...(options as object), onError }),
  )
}
