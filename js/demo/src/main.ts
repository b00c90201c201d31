/** The page: header, tabs and the four editors, bound to one session. */

import "./style.css"

import { mount as codemirror } from "./editors/codemirror"
import type { CollabEditor, Mount } from "./editors/editor"
import { mount as prosemirror } from "./editors/prosemirror"
import { mount as quill } from "./editors/quill"
import { mount as tiptap } from "./editors/tiptap"
import { icon } from "./icons"
import { type Kind, KINDS } from "./kinds"
import { initials, invent, myself, rememberName } from "./people"
import { Session, type Status } from "./session"

// All editors load with the page: loading one on first use would fail while the server is down.
const EDITORS: Record<Kind, { title: string; mount: Mount }> = {
  codemirror: { title: "CodeMirror", mount: codemirror },
  tiptap: { title: "Tiptap", mount: tiptap },
  quill: { title: "Quill", mount: quill },
  prosemirror: { title: "ProseMirror", mount: prosemirror },
}
/** "Saved" is shown after this many milliseconds without change, so that the word does not flicker. */
const SETTLED = 250
const FIRST_DOCUMENT = "welcome"

function byId<T extends HTMLElement>(id: string): T {
  const element = document.getElementById(id)
  if (!element) throw new Error(`the page has no #${id}`)
  return element as T
}

/** A document name from user input: only letters, digits and dashes. */
function slug(text: string): string {
  return text
    .normalize("NFKD")
    .replace(/[^A-Za-z0-9_-]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 80)
}

const nameFromAddress = (): string => slug(decodeURIComponent(location.hash.slice(1))) || FIRST_DOCUMENT

class Page {
  private tab: Kind = "codemirror"
  private session: Session
  private readonly editors = new Map<Kind, CollabEditor>()
  private readonly panels = new Map<Kind, HTMLElement>()
  private pending: ReturnType<typeof setTimeout> | undefined
  private drawing = false
  private locked = false
  private drawnPeople = ""

  constructor() {
    this.session = this.join()
    this.drawTabs()
    this.bind()
    this.show(this.tab)
  }

  private join(): Session {
    const name = nameFromAddress()
    byId<HTMLInputElement>("document").value = name
    document.title = `${name} · Lumenize Collab`
    return new Session(name, this.session?.me ?? myself(), this.tab, () => this.redraw())
  }

  /** Switch to the document in the current URL. */
  private switchDocument(): void {
    if (nameFromAddress() === this.session.name) return
    for (const editor of this.editors.values()) editor.destroy()
    this.editors.clear()
    this.panels.clear()
    byId("editors").replaceChildren()
    this.session.destroy()
    this.session = this.join()
    this.show(this.tab)
  }

  private show(tab: Kind): void {
    this.tab = tab
    this.session.enter(tab)
    if (!this.panels.has(tab)) this.mount(tab)
    for (const [kind, panel] of this.panels) panel.hidden = kind !== tab
    this.drawToolbar()
    this.redraw()
    this.editors.get(tab)?.focus()
  }

  private mount(tab: Kind): void {
    const panel = document.createElement("div")
    const host = document.createElement("div")
    panel.className = `editor ${tab}`
    panel.id = `editor-${tab}`
    panel.setAttribute("role", "tabpanel")
    panel.setAttribute("aria-labelledby", `tab-${tab}`)
    panel.append(host)
    byId("editors").append(panel)
    const { rooms, me } = this.session
    const editor = EDITORS[tab].mount(host, rooms[tab], me, () => this.drawToolbarState())
    if (this.locked) editor.setEditable(false)
    this.panels.set(tab, panel)
    this.editors.set(tab, editor)
  }

  private bind(): void {
    window.addEventListener("hashchange", () => this.switchDocument())
    window.addEventListener("beforeunload", (event) => {
      if (document.body.dataset["state"] === "offline" && this.waiting() > 0) event.preventDefault()
    })
    const documentName = byId<HTMLInputElement>("document")
    documentName.addEventListener("change", () => {
      documentName.value = slug(documentName.value) || this.session.name
      location.hash = documentName.value
    })
    const myName = byId<HTMLInputElement>("my-name")
    myName.addEventListener("change", () => {
      myName.value = myName.value.trim() || invent()
      rememberName(myName.value)
      this.session.rename(myName.value)
    })
    for (const input of [documentName, myName])
      input.addEventListener("keydown", (event) => {
        if (event.key === "Enter") input.blur()
      })
    byId("copy").addEventListener("click", () => void this.copyLink())
    for (const id of ["open", "open-too"])
      byId(id).addEventListener("click", () => window.open(this.link(), "_blank", "noopener,width=900,height=800"))
    byId("sign-in").addEventListener("submit", (event) => {
      event.preventDefault()
      this.session.signIn(byId<HTMLInputElement>("token").value.trim())
    })
  }

  private link(): string {
    return `${location.origin}${location.pathname}#${this.session.name}`
  }

  private async copyLink(): Promise<void> {
    const button = byId("copy")
    try {
      await navigator.clipboard.writeText(this.link())
      button.textContent = "Copied"
    } catch {
      // Browsers refuse the clipboard on plain http from other machines: the user copies by hand.
      window.prompt("The link to this document", this.link())
    }
    setTimeout(() => (button.textContent = "Copy link"), 1500)
  }

  private waiting(): number {
    const status = this.session.status()
    return status.state === "offline" ? status.waiting : 0
  }

  /** Render once for all changes of one turn. */
  private redraw(): void {
    if (this.drawing) return
    this.drawing = true
    queueMicrotask(() => {
      this.drawing = false
      this.drawStatus()
      this.drawPeople()
      // Edits without a token would be lost.
      this.lock(this.session.readOnly || this.session.status().state === "denied")
    })
  }

  private lock(locked: boolean): void {
    if (locked === this.locked) return
    this.locked = locked
    for (const editor of this.editors.values()) editor.setEditable(!locked)
  }

  private drawStatus(): void {
    const status = this.session.status()
    clearTimeout(this.pending)
    if (status.state === "saved" && document.body.dataset["state"] !== "saved")
      this.pending = setTimeout(() => this.say(this.session.status()), SETTLED)
    else this.say(status)
  }

  private say(status: Status): void {
    document.body.dataset["state"] = status.state
    byId("status").textContent = this.session.readOnly && status.state === "saved" ? "Read only" : words(status)
    byId("denied").hidden = status.state !== "denied"
    if (status.state === "denied")
      byId("denied-reason").textContent = `It refused this window: ${status.reason || "no reason given"}.`
  }

  private drawPeople(): void {
    const people = this.session.people()
    const { state } = this.session.status()
    byId("alone").hidden = people.length > 1 || (state !== "saved" && state !== "saving")
    // Keep the elements, which may be under the pointer, while the people do not change.
    const drawn = JSON.stringify([this.tab, people])
    if (drawn === this.drawnPeople) return
    this.drawnPeople = drawn
    const mine = this.session.me.color
    byId("my-colour").style.backgroundColor = mine
    const myName = byId<HTMLInputElement>("my-name")
    myName.readOnly = this.session.named
    if (myName.readOnly || document.activeElement !== myName) myName.value = this.session.me.name
    byId("avatars").replaceChildren(
      ...people.map((person) => {
        const avatar = document.createElement("button")
        avatar.type = "button"
        avatar.className = person.me ? "avatar mine" : "avatar"
        avatar.style.backgroundColor = person.color
        avatar.textContent = initials(person.name)
        avatar.title = person.me ? `${person.name} (you)` : `${person.name}, in ${EDITORS[person.tab].title}`
        if (!person.me) avatar.addEventListener("click", () => this.show(person.tab))
        return avatar
      }),
    )
    for (const kind of KINDS) {
      const tab = byId(`tab-${kind}`)
      tab.setAttribute("aria-selected", String(kind === this.tab))
      tab.querySelector(".dots")?.replaceChildren(
        ...people
          .filter((person) => person.tab === kind && !person.me)
          .slice(0, 5)
          .map((person) => {
            const dot = document.createElement("span")
            dot.className = "dot"
            dot.style.backgroundColor = person.color
            dot.title = person.name
            return dot
          }),
      )
    }
  }

  private drawTabs(): void {
    byId("tabs").replaceChildren(
      ...KINDS.map((kind) => {
        const tab = document.createElement("button")
        tab.type = "button"
        tab.id = `tab-${kind}`
        tab.setAttribute("role", "tab")
        tab.setAttribute("aria-controls", `editor-${kind}`)
        tab.append(EDITORS[kind].title, Object.assign(document.createElement("span"), { className: "dots" }))
        tab.addEventListener("click", () => this.show(kind))
        return tab
      }),
    )
  }

  private drawToolbar(): void {
    const actions = this.editors.get(this.tab)?.actions ?? []
    byId("toolbar").replaceChildren(
      ...actions.map((action) => {
        if (action === null) return Object.assign(document.createElement("span"), { className: "gap" })
        const button = document.createElement("button")
        button.type = "button"
        button.title = action.title
        button.setAttribute("aria-label", action.title)
        button.innerHTML = icon(action.icon)
        // The editor keeps its focus, and with it the selection for the button.
        button.addEventListener("mousedown", (event) => event.preventDefault())
        button.addEventListener("click", action.run)
        return button
      }),
    )
    this.drawToolbarState()
  }

  private drawToolbarState(): void {
    const actions = (this.editors.get(this.tab)?.actions ?? []).filter((action) => action !== null)
    const buttons = byId("toolbar").querySelectorAll("button")
    actions.forEach((action, index) => {
      if (action.active) buttons[index]?.setAttribute("aria-pressed", String(action.active()))
    })
  }
}

function words(status: Status): string {
  switch (status.state) {
    case "connecting":
      return "Connecting…"
    case "saving":
      return "Saving…"
    case "saved":
      return "Saved"
    case "denied":
      return "Not signed in"
    case "offline":
      if (status.waiting === 0) return "Offline – reconnecting…"
      return `Offline – ${status.waiting} ${status.waiting === 1 ? "change" : "changes"} waiting`
  }
}

new Page()
