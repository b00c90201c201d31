/** Lumenize Collab for Svelte 5. */
export { provideClient, setClient, useClient } from "./client.js"
export { lumenizeConnection, lumenizeDocument, lumenizeMetric, lumenizePresence } from "./live.js"
export { onEntityEvent, onLumenizeEvent, onSystemEvent, type EventOptions } from "./events.js"
export { lumenizeSubscription, type SubscriptionOptions } from "./subscription.js"
export { lumenizeAggregate, lumenizePages } from "./lists.js"
export type { AggregateState, ConnectionState, DocumentState, EntityEventOptions, MetricState, PagesOptions, PagesState, PresenceState, QueryState } from "@lumenize/client/stores"
