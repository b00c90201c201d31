/** External stores for rows, the connection, presence and documents, and listeners to events. */
import { constant, LOADING, type QueryState, type Store } from "../shared-store.js"

export { keyOf } from "../key.js"
export { LOADING, queryStore, type QueryState, type Store } from "../shared-store.js"
export { CONNECTING, connectionStore, type ConnectionState } from "./connection.js"
export { aggregateStore, NO_GROUPS, UNCOUNTED, type AggregateState } from "./aggregate.js"
export { NO_PAGE, NO_PAGES, pagesStore, type PagesOptions, type PagesQuery, type PagesState, type PagesStateOf } from "./pages.js"
export { documentStore, NO_DOCUMENT, UNOPENED, type DocumentState } from "./document.js"
export { listen, listenEntities, listenSystem, metricStore, UNMEASURED, type EntityEventOptions, type MetricState } from "./events.js"
export { joinPresence, NO_ROOM, NOBODY, presenceStore, type PresenceState } from "./presence.js"

/** A store without rows. */
export const NO_ROWS: Store<QueryState<never>> = constant({ ...LOADING, loading: false })
