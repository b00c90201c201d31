/** One document name: its four Yjs documents over one socket, the people present, and the save state. */

import { HocuspocusProvider, HocuspocusProviderWebsocket, WebSocketStatus } from "@hocuspocus/provider"
import * as Y from "yjs"

import { type Kind, KINDS } from "./kinds"
import { freeColour, makeUser, type Person, type User } from "./people"

export interface Room {
  readonly kind: Kind
  readonly doc: Y.Doc
  readonly provider: HocuspocusProvider
  readonly awareness: NonNullable<HocuspocusProvider["awareness"]>
}

export type Status =
  | { state: "connecting" }
  | { state: "offline"; waiting: number }
  | { state: "saving" }
  | { state: "saved" }
  | { state: "denied"; reason: string }

const TOKEN_KEY = "collab.token"

export class Session {
  readonly rooms: Readonly<Record<Kind, Room>>
  private readonly socket: HocuspocusProviderWebsocket
  private readonly window = crypto.getRandomValues(new Uint32Array(2)).join("-")
  private token = sessionStorage.getItem(TOKEN_KEY) ?? ""
  private denied: string | null = null
  /** Whether the token names the user: then the server shows that name to others, whatever the page sends. */
  named = false
  private everConnected = false

  constructor(
    readonly name: string,
    public me: User,
    private tab: Kind,
    private readonly changed: () => void,
  ) {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:"
    this.socket = new HocuspocusProviderWebsocket({
      url: `${scheme}//${location.host}/hocuspocus`,
      delay: 500,
      minDelay: 250,
      maxDelay: 4000,
    })
    this.socket.on("status", ({ status }: { status: WebSocketStatus }) => {
      this.everConnected ||= status === WebSocketStatus.Connected
      this.changed()
    })
    window.addEventListener("offline", this.dropSocket)
    window.addEventListener("online", this.reconnect)
    this.rooms = Object.fromEntries(KINDS.map((kind) => [kind, this.open(kind)])) as Record<Kind, Room>
    this.takeName()
    this.publish()
  }

  private open(kind: Kind): Room {
    const doc = new Y.Doc()
    const provider = new HocuspocusProvider({
      websocketProvider: this.socket,
      name: `documents/${this.name}.${kind}`,
      document: doc,
      token: () => this.token,
      onAuthenticated: () => {
        this.denied = null
        this.changed()
      },
      onAuthenticationFailed: ({ reason }) => {
        this.denied = reason
        this.changed()
      },
      onSynced: () => this.settleColour(),
      onUnsyncedChanges: this.changed,
      onAwarenessChange: this.changed,
    })
    provider.attach()
    const awareness = provider.awareness
    if (awareness === null) throw new Error("the provider was made without awareness")
    return { kind, doc, provider, awareness }
  }

  /** Whether the edits of all four documents are committed, and if not, why. */
  status(): Status {
    const rooms = Object.values(this.rooms)
    const waiting = rooms.reduce((sum, { provider }) => sum + provider.unsyncedChanges, 0)
    if (this.denied !== null) return { state: "denied", reason: this.denied }
    if (this.socket.status !== WebSocketStatus.Connected)
      return this.everConnected || waiting > 0 ? { state: "offline", waiting } : { state: "connecting" }
    if (rooms.every(({ provider }) => provider.isSynced && provider.unsyncedChanges === 0)) return { state: "saved" }
    return { state: "saving" }
  }

  get readOnly(): boolean {
    return Object.values(this.rooms).some(({ provider }) => provider.authorizedScope === "readonly")
  }

  /** Everybody with a window open on this document; this user first, the others by name. */
  people(): Person[] {
    const found = new Map<string, Person>()
    for (const { awareness, doc } of Object.values(this.rooms)) {
      for (const [client, state] of awareness.getStates()) {
        const person = readPerson(state, client === doc.clientID)
        if (person) found.set(person.window, person)
      }
    }
    return [...found.values()].sort((a, b) => Number(b.me) - Number(a.me) || a.name.localeCompare(b.name))
  }

  rename(name: string): void {
    this.me = makeUser(name, this.me.color)
    this.publish()
  }

  /** Show the others the current editor; the cursor leaves the previous one. */
  enter(tab: Kind): void {
    if (tab !== this.tab) this.rooms[this.tab].awareness.setLocalStateField("cursor", null)
    this.tab = tab
    this.publish()
  }

  signIn(token: string): void {
    this.token = token
    sessionStorage.setItem(TOKEN_KEY, token)
    this.denied = null
    this.takeName()
    this.publish()
    for (const { provider } of Object.values(this.rooms)) {
      provider.detach()
      provider.attach()
    }
    this.changed()
  }

  destroy(): void {
    window.removeEventListener("offline", this.dropSocket)
    window.removeEventListener("online", this.reconnect)
    for (const { provider, doc } of Object.values(this.rooms)) {
      provider.destroy()
      doc.destroy()
    }
    this.socket.destroy()
  }

  private publish(): void {
    for (const { awareness } of Object.values(this.rooms)) {
      awareness.setLocalStateField("user", this.me)
      awareness.setLocalStateField("window", { id: this.window, tab: this.tab })
    }
  }

  private takeName(): void {
    const name = nameInToken(this.token)
    this.named = name !== null
    if (name !== null) this.me = makeUser(name, this.me.color)
  }

  private settleColour(): void {
    const taken = this.people().filter((person) => !person.me)
    const color = freeColour(
      this.me.color,
      taken.map((person) => person.color),
    )
    if (color !== this.me.color) {
      this.me = makeUser(this.me.name, color)
      this.publish()
    }
    this.changed()
  }

  // A socket notices a lost network only after half a minute of silence. If the server is still reachable
  // (it may run on this machine), the provider reconnects at once.
  private readonly dropSocket = (): void => this.socket.webSocket?.close()

  // The provider may be waiting for its next attempt.
  private readonly reconnect = (): void => {
    void this.socket.connect()
  }
}

function readPerson(state: Record<string, unknown>, me: boolean): Person | null {
  const user = state["user"] as Partial<User> | undefined
  const place = state["window"] as { id?: unknown; tab?: unknown } | undefined
  const tab = KINDS.find((kind) => kind === place?.tab)
  if (typeof user?.name !== "string" || typeof user.color !== "string") return null
  if (!/^#[0-9a-f]{6}$/i.test(user.color) || typeof place?.id !== "string" || !tab) return null
  return { ...makeUser(user.name, user.color), window: place.id, tab, me }
}

/** The user's name in a JSON web token. */
function nameInToken(token: string): string | null {
  try {
    const payload = (token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/")
    const bytes = Uint8Array.from(atob(payload), (character) => character.charCodeAt(0))
    const { name } = JSON.parse(new TextDecoder().decode(bytes)) as { name?: unknown }
    return typeof name === "string" ? name : null
  } catch {
    return null
  }
}
