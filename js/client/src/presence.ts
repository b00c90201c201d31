/** The rooms in which this client is present, across all its connections. */
import { checkName, checkObject } from "./options.js"
import type { Request } from "./protocol.js"
import type { Data } from "./types.js"
import { plain } from "./values.js"

/** The unanswered update of a room, and the next one. */
interface Speech {
  current: Promise<void>
  next: { state: Data; told: Promise<void> } | null
}

export class PresenceRooms {
  private readonly joined = new Map<string, Data>()
  private readonly speeches = new Map<string, Speech>()

  /** `say` resolves once a request is answered, or if the next connection will send it. */
  constructor(private readonly say: (request: Request) => Promise<void>) {}

  /** The states to send on a new connection. */
  states(): [string, Data][] {
    return [...this.joined]
  }

  async join(room: string, state: Data): Promise<void> {
    const said = read(room, state)
    this.joined.set(room, said)
    this.speeches.delete(room)
    try {
      await this.say({ type: "joinPresence", room, state: said })
    } catch (error) {
      this.joined.delete(room)
      throw error
    }
  }

  /**
   * While an update of a room is unanswered, later ones are combined: a moving cursor is sent as often as the server
   * answers, and its last position always.
   */
  async update(room: string, state: Data): Promise<void> {
    const said = read(room, state)
    const known = this.joined.get(room)
    if (known !== undefined) this.joined.set(room, { ...known, ...said })
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
    const speech: Speech = { current: telling.catch(() => {}), next: null }
    this.speeches.set(room, speech)
    void speech.current.then(() => {
      if (speech.next === null && this.speeches.get(room) === speech) this.speeches.delete(room)
    })
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
