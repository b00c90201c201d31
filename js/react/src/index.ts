"use client"
/** Lumenize Collab for React. */
export { LumenizeProvider, setClient, useLumenizeClient } from "./client.js"
export { useConnection, useDocument, useMetric, usePresence } from "./live.js"
export { useEntityEvent, useLumenizeEvent, useSystemEvent, type EventOptions } from "./events.js"
export { useLumenizeSubscription, type SubscriptionOptions } from "./subscription.js"
export { useLumenizeAggregate, useLumenizePages, type AggregateOptions, type PagesOptions } from "./lists.js"
export type { AggregateState, ConnectionState, DocumentState, EntityEventOptions, MetricState, PagesState, PresenceState, QueryState } from "@lumenize/client/stores"
