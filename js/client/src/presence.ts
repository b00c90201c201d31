/** The rooms that this client wants to be seen in, over all its connections. */
import { plain } from "./values.js"
import type { Request } from "./protocol.js"
import type { Data } from "./types.js"

/** What was said of a room and is not answered, and what is to be said of it next. */
interface Speech {
  current: Promise<void>
  next: { state: Data; told: Promise<void> } | null
}

export class PresenceRooms {
  private readonly joined = new Map<string, Data>()
  private readonly speeches = new Map<string, Speech>()

  /** `say` resolves once something is said, or the next connection will say it. */
  constructor(private readonly say: (request: Request) => Promise<void>) {}

  /** What a new connection begins with. */
  states(): [string, Data][] {
    return [...this.joined]
  }

  async join(room: string, state: Data): Promise<void> {
    const said = plain(state, 2)
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
   * While an update of a room is on its way, those that follow become one: a cursor that moves is told as often as the
   * server answers, and its last place always.
   */
  update(room: string, state: Data): Promise<void> {
    const said = plain(state, 2)
    const known = this.joined.get(room)
    if (known !== undefined) this.joined.set(room, { ...known, ...said })
    const speech = this.speeches.get(room)
    if (speech === undefined) return this.tell(room, said)
    speech.next ??= { state: {}, told: speech.current.then(() => this.goOn(room, speech)) }
    Object.assign(speech.next.state, said)
    return speech.next.told
  }

  leave(room: string): Promise<void> {
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
    // what was said meanwhile (to join, to leave) replaces what waited
    if (this.speeches.get(room) === speech && speech.next !== null) return this.tell(room, speech.next.state)
  }
}
