/** A live aggregate, as an external store. */
import type { Client } from "../client.js"
import type { LumenizeError } from "../errors.js"
import { frozen } from "../frozen.js"
import { keyOf } from "../key.js"
import { constant, liveStore, type Store } from "../shared-store.js"
import type { Aggregate, Group, GroupOf, Right } from "../queries.js"
import type { Data, NameOf, RowOf } from "../schema.js"
import type { Shown } from "../types.js"

export interface AggregateState<G = Group> {
  /** The groups, in the order of `groupBy`; empty before the first answer. */
  data: readonly Shown<G>[]
  loading: boolean
  /** Why there are no groups, or no updates. */
  error: LumenizeError | null
}

export const UNCOUNTED: AggregateState<never> = frozen({ data: [], loading: true, error: null })

/** A store without groups. */
export const NO_GROUPS: Store<AggregateState<never>> = constant({ ...UNCOUNTED, loading: false })

/** The store of a live aggregate. Stores of the same aggregate share one subscription. */
export function aggregateStore<T extends object = never, N extends NameOf<T> = NameOf<T>, Q extends Aggregate<RowOf<T, N>> = Aggregate<RowOf<T, N>>>(
  client: Client,
  collection: N,
  query: Q & Right<Q, RowOf<T, N>, Aggregate<RowOf<T, N>>> = {} as Q & Right<Q, RowOf<T, N>, Aggregate<RowOf<T, N>>>,
): Store<AggregateState<GroupOf<RowOf<T, N>, Q>>> {
  const store = liveStore<AggregateState>(client, `aggregate ${keyOf([collection, query])}`, UNCOUNTED, (tell, onError) =>
    client.collection<Data>(collection).subscribeAggregate(query as unknown as Aggregate, (data) => tell({ data: frozen(data) }), { onError }),
  )
  return store as Store<AggregateState<GroupOf<RowOf<T, N>, Q>>>
}
