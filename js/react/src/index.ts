"use client"
/** Lumenize Collab for React. */
export { LumenizeProvider, setClient, useLumenizeClient } from "./client.js"
export { useConnection, useDocument, useMetric, usePresence } from "./live.js"
export { useEntityEvent, useLumenizeEvent, useSystemEvent, type EventOptions } from "./events.js"
export { useLumenizeSubscription, type SubscriptionOptions } from "./subscription.js"
export type { ConnectionState, DocumentState, EntityEventOptions, MetricState, PresenceState, QueryState } from "@lumenize/client/stores"
