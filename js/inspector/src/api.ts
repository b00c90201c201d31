/** What the page asks the server, and what it answers. */

/** The answer of the server was an error. */
export class Refused extends Error {
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message)
  }
}

const HEADERS = { "x-collab-inspector": "1" }

async function answer<T>(response: Response): Promise<T> {
  const body = (await response.json().catch(() => ({}))) as { error?: { code: string; message: string } }
  if (response.ok) return body as T
  if (response.status === 401) location.reload() // to the form that signs in
  throw new Refused(body.error?.code ?? "INTERNAL_ERROR", body.error?.message ?? `the server answered ${response.status}`)
}

async function ask<T>(path: string, init: RequestInit): Promise<T> {
  let response: Response
  try {
    response = await fetch(`api/${path}`, init)
  } catch (error) {
    if (init.signal?.aborted) throw error
    throw new Refused("CONNECTION_LOST", "the server does not answer")
  }
  return answer<T>(response)
}

export function get<T>(path: string, parameters: Record<string, string | number> = {}, signal?: AbortSignal): Promise<T> {
  const query = new URLSearchParams(Object.entries(parameters).map(([name, value]) => [name, String(value)])).toString()
  return ask<T>(query ? `${path}?${query}` : path, { headers: HEADERS, ...(signal && { signal }) })
}

export function post<T>(path: string, body: object = {}): Promise<T> {
  return ask<T>(path, {
    method: "POST",
    headers: { ...HEADERS, "content-type": "application/json" },
    body: JSON.stringify(body),
  })
}

export interface Project {
  name: string
  position: number
  collections: { name: string; size: number }[]
}

/** A page of projects, by name. `more`: not all of their collections are listed; `next`: the page after this name follows. */
export interface Projects {
  projects: Project[]
  more: boolean
  next: string | null
}

/** What each node shows: one alone has the number 0. */
export interface Nodes<T> {
  nodes: { node: number; found: T | null; failure: string | null }[]
}

export interface Health {
  version: string
  since: string
  unready: string | null
  isOpen: boolean
  allowedOrigins: string[]
  gauges: { name: string; about: string; value: number }[]
  errors: Record<string, number>
  bytesIn: number
  bytesOut: number
}

export type Overview = Nodes<Health> & { record: string; historyDays: number }

export interface Session {
  session: string
  userId?: string
  name?: string
  protocol: string
  document?: string
  address?: string
  since: string
}

export interface OpenRoom {
  project: string
  collection: string
  id: string
  sessions: number
  people: number
}

export interface Person {
  key: string
  userId?: string
  name?: string
  state?: Record<string, unknown>
  states?: Record<string, unknown>[]
}

export interface LiveQuery {
  project: string
  collection: string
  query: unknown
  watchers: number
  rows: number
  events: number
  steps: number
  seconds: number
  reads: number
  readSeconds: number
}

export interface Makeup {
  lineage: string | null
  deleted: boolean
  snapshotBytes: number
  indexBytes: number
  logRows: number
  logBytes: number
  lastRows: { row: number; at: string; userId: string | null; bytes: number }[]
  quarantined: number
  openHere: boolean
  sessions: number
  makeup: {
    structs: number
    elements: number
    deleted: number
    collected: number
    contentBytes: number
    clientCount: number
    clients: {
      client: number
      elements: number
      deleted: number
      contentBytes: number
      users: (string | null)[]
      lastAt: number | null
    }[]
  }
}

export interface Webhook {
  name: string
  project: string
  url: string | null
  position: number | null
  behind: number | null
  deadLetters: number
}

export interface Letter {
  number: number
  at: string
  project: string
  collection: string
  id: string
  version: number
  type: string
  reason: string
}

export interface Aside {
  number: number
  at: string
  project: string
  collection: string
  id: string
  row: number | null
  bytes: number
  reason: string
}

export interface Deleted {
  id: string
  version: number
  at: string
}

export interface Usage {
  name: string
  used: { cpu: Record<string, number>; received: number; sent: number }
  stored: { entities: number; events: number; documents: number; history: number } | null
}
