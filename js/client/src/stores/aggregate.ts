/** A live aggregate, as an external store. */
import type { Client } from "../client.js"
import type { LumenizeError } from "../errors.js"
import { frozen } from "../frozen.js"
import { keyOf } from "../key.js"
import { constant, liveStore, type Store } from "../shared-store.js"
import type { Aggregate, Data, Group, NameOf, RowOf, Shown } from "../types.js"

export interface AggregateState {
  /** The groups, in the order of `groupBy`; empty before the first answer. */
  data: readonly Shown<Group>[]
  loading: boolean
  /** Why there are no groups, or no updates. */
  error: LumenizeError | null
}

export const UNCOUNTED: AggregateState = frozen({ data: [], loading: true, error: null })

/** A store without groups. */
export const NO_GROUPS: Store<AggregateState> = constant({ ...UNCOUNTED, loading: false })

/** The store of a live aggregate. Stores of the same aggregate share one subscription. */
export function aggregateStore<T extends object = Data, N extends string = string>(
  client: Client,
  collection: NameOf<T, N>,
  query: Aggregate<NoInfer<RowOf<T, N>>> = {},
): Store<AggregateState> {
  return liveStore(client, `aggregate ${keyOf([collection, query])}`, UNCOUNTED, (tell, onError) =>
    client.collection(collection).subscribeAggregate(query as unknown as Aggregate, (data) => tell({ data: frozen(data) }), { onError }),
  )
}
