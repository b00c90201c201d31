/** The rooms in which this client is present, across all its connections. */
import { checkName, checkObject } from "./options.js"
import type { Request } from "./protocol.js"
import type { Data } from "./schema.js"
import { plain } from "./values.js"

/** The unanswered update of a room, and the next one. */
interface Speech {
  current: Promise<void>
  next: { state: Data; told: Promise<void> } | null
}

/** What a joined room is shown: with all updates, and with those that the server has not refused. */
interface Stay {
  state: Data
  accepted: Data
}

export class PresenceRooms {
  private readonly joined = new Map<string, Stay>()
  private readonly speeches = new Map<string, Speech>()

  /** `say` resolves once a request is answered, or if the next connection will send it. */
  constructor(private readonly say: (request: Request) => Promise<void>) {}

  /** The states to send on a new connection. */
  states(): [string, Data][] {
    return [...this.joined].map(([room, { state }]) => [room, state])
  }

  async join(room: string, state: Data): Promise<void> {
    const said = read(room, state)
    const stay = { state: said, accepted: said }
    this.joined.set(room, stay)
    this.speeches.delete(room)
    try {
      await this.say({ type: "joinPresence", room, state: said })
    } catch (error) {
      if (this.joined.get(room) === stay) this.joined.delete(room)
      throw error
    }
  }

  /**
   * While an update of a room is unanswered, later ones are combined: a moving cursor is sent as often as the server
   * answers, and its last position always.
   */
  async update(room: string, state: Data): Promise<void> {
    const said = read(room, state)
    const stay = this.joined.get(room)
    if (stay !== undefined) stay.state = { ...stay.state, ...said }
    const speech = this.speeches.get(room)
    if (speech === undefined) return this.tell(room, said)
    speech.next ??= { state: {}, told: speech.current.then(() => this.goOn(room, speech)) }
    Object.assign(speech.next.state, said)
    return speech.next.told
  }

  async leave(room: string): Promise<void> {
    checkName("a room", room)
    this.joined.delete(room)
    this.speeches.delete(room)
    return this.say({ type: "leavePresence", room })
  }

  private tell(room: string, state: Data): Promise<void> {
    const telling = this.say({ type: "updatePresence", room, state })
    const stay = this.joined.get(room)
    const answered = (accepted: Data): void => {
      if (stay !== undefined) stay.state = { ...(stay.accepted = { ...stay.accepted, ...accepted }), ...speech.next?.state }
      if (speech.next === null && this.speeches.get(room) === speech) this.speeches.delete(room)
    }
    const speech: Speech = {
      current: telling.then(
        () => answered(state),
        () => answered({}),
      ),
      next: null,
    }
    this.speeches.set(room, speech)
    return telling
  }

  private goOn(room: string, speech: Speech): Promise<void> | void {
    // a join or leave in the meantime replaces the waiting update
    if (this.speeches.get(room) === speech && speech.next !== null) return this.tell(room, speech.next.state)
  }
}

function read(room: string, state: Data): Data {
  checkName("a room", room)
  checkObject("a presence state", state)
  return plain(state, 2)
}
