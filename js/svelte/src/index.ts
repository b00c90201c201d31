/** Lumenize Collab for Svelte 5. */
export { provideClient, setClient, useClient } from "./client.js"
export { lumenizeConnection, lumenizeDocument, lumenizeMetric, lumenizePresence } from "./live.js"
export { onEntityEvent, onLumenizeEvent, onSystemEvent, type EventOptions } from "./events.js"
export { lumenizeSubscription, type SubscriptionOptions } from "./subscription.js"
export type { ConnectionState, DocumentState, EntityEventOptions, MetricState, PresenceState, QueryState } from "@lumenize/client/stores"
