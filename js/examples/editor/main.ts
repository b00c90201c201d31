/** Notes: titles are fields of entities, texts are Yjs documents; both use one socket. */
import "../shared/base.css"
import "./style.css"

import type { Entity } from "@lumenize/client"
import { connectionStore, documentStore, presenceStore, type DocumentState } from "@lumenize/client/stores"
import type { EditorView } from "@codemirror/view"

import { connect, kindOf, reconnectAs, words } from "../shared/client"
import { initials, myself, readPeople, renamed } from "../shared/me"
import { createEditor, lineOf } from "./editor"
import { FIRST, seedFirst, type Note } from "./notes"
import { showVersions } from "./versions"

function byId<T extends HTMLElement>(id: string): T {
  const element = document.getElementById(id)
  if (element === null) throw new Error(`the page has no #${id}`)
  return element as T
}

const noteFromAddress = (): string => location.hash.slice(1).replace(/[^A-Za-z0-9_-]+/g, "-").slice(0, 80) || FIRST

let me = myself()
const client = connect<{ notes: Note }>(me)
const title = byId<HTMLInputElement>("title")
let notes: readonly Entity<Note>[] = []
let current = noteFromAddress()
let document_: DocumentState | null = null
let view: EditorView | null = null
let close = (): void => {}

// one note

function open(id: string): void {
  title.blur() // further input belongs to the other note
  close()
  current = id
  document_ = null
  byId("problem").hidden = true
  const store = documentStore(client, `notes/${id}`)
  const people = presenceStore(client, `notes/${id}`)
  const show = (): void => {
    const before = document_
    document_ = store.getSnapshot()
    const { doc, awareness, error, synced } = document_
    if (error !== null) {
      byId("problem").hidden = false
      byId("problem").textContent = `This note cannot be opened: ${error.message}`
    }
    if (doc !== null && awareness !== null && view === null) {
      introduce()
      view = createEditor(byId("text"), doc, awareness)
    }
    byId("text").setAttribute("aria-busy", String(!synced))
    if (synced && before?.synced !== true && document.activeElement === document.body) view?.focus()
    drawStatus()
  }
  const stop = [store.subscribe(show), people.subscribe(drawPeople)]
  close = () => {
    for (const end of stop) end()
    view?.destroy()
    view = null
  }
  drawPeople()
  show()
  drawNotes()

  function drawPeople(): void {
    const here = readPeople(people.getSnapshot().people, me)
    byId("count").textContent = here.length === 0 ? "" : String(here.length)
    byId("alone").hidden = here.length > 1
    byId("together").hidden = here.length < 2
    byId("people").replaceChildren(
      ...here.map(({ window, name, color, line }) => {
        const item = document.createElement("li")
        const button = document.createElement("button")
        const avatar = Object.assign(document.createElement("span"), { className: "avatar", textContent: initials(name) })
        const who = Object.assign(document.createElement("span"), { className: "who" })
        const mine = window === me.window
        item.dataset["person"] = name
        item.style.setProperty("--person", color)
        avatar.ariaHidden = "true"
        who.textContent = mine ? `${name} (you)` : name
        const where = Object.assign(document.createElement("small"), {
          textContent: typeof line === "number" ? `line ${line}` : "reading",
        })
        button.type = "button"
        button.title = mine ? "" : `Go to where ${name} is`
        button.disabled = mine || typeof line !== "number"
        button.addEventListener("click", () => view && typeof line === "number" && goTo(view, line))
        button.append(avatar, who, where)
        item.append(button)
        return item
      }),
    )
  }
}

function goTo(editor: EditorView, line: number): void {
  const { from } = editor.state.doc.line(Math.min(line, editor.state.doc.lines))
  editor.dispatch({ selection: { anchor: from }, scrollIntoView: true })
  editor.focus()
}

/** Show the others my name and the line of my cursor. */
function introduce(): void {
  const awareness = document_?.awareness
  if (!awareness) return
  const { window, name, color } = me
  const line = view === null ? null : lineOf(view)
  const said = awareness.getLocalState()
  if (said?.["name"] === name && said["line"] === line) return
  awareness.setLocalState({ ...said, window, name, color, line, user: { name, color, colorLight: `${color}33` } })
}
document.addEventListener("selectionchange", introduce)
document.addEventListener("focusout", () => setTimeout(introduce))

// all notes

function drawNotes(): void {
  const known = notes.find(({ id }) => id === current)
  if (document.activeElement !== title) title.value = known?.title ?? ""
  document.title = `${known?.title || "Notes"} · Lumenize Collab`
  byId("list").replaceChildren(
    ...notes.map(({ id, title }) => {
      const item = document.createElement("li")
      const link = Object.assign(document.createElement("a"), { href: `#${id}`, textContent: title || "Untitled" })
      if (id === current) link.ariaCurrent = "page"
      item.append(link)
      return item
    }),
  )
}

function report(error: Error): void {
  byId("problem").hidden = false
  byId("problem").textContent = error.message
}

client.notes.subscribe(
  { orderBy: { createdAt: "asc" }, limit: 100 },
  (rows) => {
    notes = rows
    drawNotes()
  },
  { onError: report },
)

title.addEventListener("input", () => client.notes.update(current, { title: title.value }).catch(report))
title.addEventListener("blur", drawNotes)
title.addEventListener("keydown", ({ key }) => key === "Enter" && view?.focus())
byId("versions").addEventListener("click", () => void showVersions(client, current, title.value))
byId("create").addEventListener("click", () => {
  const id = crypto.getRandomValues(new Uint32Array(2)).join("-")
  client.notes.create({ id, title: "New note" }).catch(report)
  open(id)
  location.hash = id
  title.focus()
  title.select()
})

// the page

const connection = connectionStore(client)

function drawStatus(): void {
  const { state, pending } = connection.getSnapshot()
  const unsaved = document_ !== null && document_.state !== "saved" && document_.state !== "readonly"
  const status = byId("status")
  const kind = kindOf({ state, pending })
  status.dataset["state"] = kind === "saved" && unsaved ? "busy" : kind
  document.body.dataset["stale"] = String(kind === "offline")
  if (document_?.state === "readonly" && state === "connected") status.textContent = "Read only"
  else if (state === "offline" && document_?.state === "offline") status.textContent = "Offline – your text is kept here"
  else status.textContent = words({ state, pending: pending + (unsaved && state === "connected" ? 1 : 0) })
}
connection.subscribe(drawStatus)

window.addEventListener("hashchange", () => {
  if (noteFromAddress() !== current) open(noteFromAddress())
})
window.addEventListener("beforeunload", (event) => {
  if (byId("status").dataset["state"] === "offline" && document_?.state === "offline") event.preventDefault()
})

/** Resolves once the open text is saved. */
async function textSaved(): Promise<void> {
  const open = await client.documents.open(`notes/${current}`)
  await open.whenSaved()
}

const myName = byId<HTMLInputElement>("my-name")
function drawMe(): void {
  myName.value = me.name
  byId("my-colour").style.setProperty("--person", me.color)
}
myName.addEventListener("change", () => {
  const before = me
  me = renamed(me, myName.value.trim())
  if (me.userId !== before.userId) void reconnectAs(client, me, textSaved)
  drawMe()
  introduce()
})
drawMe()

void seedFirst(client)
open(current)
