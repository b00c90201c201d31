/** The client of a Lumenize Collab server. */
export { delayBefore, type Backoff } from "./backoff.js"
export {
  Client,
  Documents,
  LumenizeClient,
  SubscriptionBatch,
  type CustomEvent,
  type SystemEventType,
} from "./client.js"
export { Collection, randomId, type Rows } from "./collection.js"
export type { OpenDocument, SaveState } from "./documents.js"
export { LumenizeError, type ErrorCode } from "./errors.js"
export type { Step } from "./protocol.js"
export type * from "./queries.js"
export { applySteps } from "./rows.js"
export type * from "./schema.js"
export { queryStore, type QueryState, type QueryStateOf, type QueryStore } from "./shared-store.js"
export { Transaction } from "./transaction.js"
export type * from "./types.js"
