/** For each section of the page: what it leaves undefined, and what each of its snippets must do. */
import type { Stage } from "../stage"
import * as connections from "./connections"
import * as errors from "./errors"
import * as optimizations from "./optimizations"
import * as patterns from "./patterns"
import * as performance from "./performance"
import * as subscriptions from "./subscriptions"

/** What a section has declared so far. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type Names = Record<string, any>
export type Check = (names: Names) => void | Promise<void>

export interface Scene {
  given: Record<string, unknown>
  /** One for each snippet, called behind it. */
  checks: Check[]
}

export const scenes: Record<string, (stage: Stage) => Promise<Scene> | Scene> = {
  "Establishing Connection": connections.establishing,
  "Connection Management": connections.management,
  "Entity Subscriptions": subscriptions.entities,
  "Query Subscriptions": subscriptions.queries,
  "Collection Subscriptions": subscriptions.collections,
  "Standard Events": subscriptions.standardEvents,
  "Custom Events": subscriptions.customEvents,
  "System Events": subscriptions.systemEvents,
  "Live Chat": patterns.chat,
  "Live Dashboard": patterns.dashboard,
  "Collaborative Editing": patterns.editing,
  "Subscription Batching": optimizations.batching,
  "Selective Field Updates": optimizations.fields,
  "Conditional Subscriptions": optimizations.conditions,
  "Connection Errors": errors.connection,
  "Subscription Errors": errors.subscription,
  "Reconnection Strategy": connections.reconnection,
  "Memory Management": performance.memory,
  "Rate Limiting": performance.rates,
  "Bandwidth Optimization": performance.bandwidth,
}
