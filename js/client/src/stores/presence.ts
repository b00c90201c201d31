/** Presence: the people in a room as an external store, and joining a room. */
import type { Client } from "../client.js"
import { CORE } from "../core.js"
import type { LumenizeError } from "../errors.js"
import { frozen } from "../frozen.js"
import { keyOf } from "../key.js"
import { asError, constant, liveStore, perClient, type Store } from "../shared-store.js"
import type { Data } from "../schema.js"
import type { Person, Unsubscribe } from "../types.js"
import { plain } from "../values.js"
import { nameOf } from "./document.js"

export interface PresenceState {
  /** The people present; in a large room, a sample. */
  people: readonly Person[]
  /** The number of people present. */
  count: number
  loading: boolean
  error: LumenizeError | null
}

export const NOBODY: PresenceState = frozen({ people: [], count: 0, loading: true, error: null })

/** A store without a room. */
export const NO_ROOM: Store<PresenceState> = constant({ ...NOBODY, loading: false })

/** The people in a room. */
export function presenceStore(client: Client, room: string): Store<PresenceState> {
  return liveStore(client, `presence ${nameOf(room)}`, NOBODY, (tell, onError) =>
    client.presence.subscribe(room, (people, count) => tell({ people: frozen(people), count }), { onError }),
  )
}

interface Stay {
  states: Map<object, Data>
  /** The state last sent to the server. */
  said: string
  settle: () => void
  end: Unsubscribe
}
const ABSENT = keyOf(null)
const stays = perClient(() => new Map<string, Stay>())

function begin(client: Client, room: string): Stay {
  const states = new Map<object, Data>()
  const settle = (): void => {
    // one message for all changes in one turn of the event loop
    queueMicrotask(() => {
      const state = states.size === 0 ? null : (Object.assign({}, ...states.values()) as Data)
      const text = keyOf(state)
      if (state === null && stays(client).get(room) === stay) {
        stays(client).delete(room)
        stay.end()
      }
      if (text === stay.said) return
      stay.said = text
      const told = state === null ? client.presence.leave(room) : client.presence.join(room, state)
      told.catch((error: LumenizeError) => {
        if (error.code === "CONNECTION_LOST") return
        stay.said = ABSENT // the next state or session joins again
        client[CORE].fail(error)
      })
    })
  }
  const stops = [client.onConnect(settle), client.onReconnect(settle)]
  const stay: Stay = { states, said: ABSENT, settle, end: () => stops.forEach((stop) => stop()) }
  return stay
}

/** Joins a room until `leave`. Several callers in one room share one state; the newest members count. */
export function joinPresence(
  client: Client,
  room: string,
  state: Data = {},
): { update(state: Data): void; leave(): void } {
  const name = nameOf(room)
  const stay = stays(client).get(name) ?? begin(client, name)
  stays(client).set(name, stay)
  const self = {}
  const update = (next: Data): void => {
    let said = stay.states.get(self) ?? {}
    try {
      said = plain(next, 2)
    } catch (error) {
      client[CORE].fail(asError(error)) // sending it would keep those of others from being sent
    }
    stay.states.delete(self)
    stay.states.set(self, said)
    stay.settle()
  }
  update(state)
  return {
    update,
    leave() {
      stay.states.delete(self)
      stay.settle()
    },
  }
}
