// One editor of docs/editors.md on a page: ?editor=…&provider=…&name=…&creator=1#document
import { HocuspocusProvider } from "@hocuspocus/provider"
import { WebsocketProvider } from "y-websocket"
import * as Y from "yjs"

const EDITORS = {
  blocknote: () => import("snippet:blocknote"),
  codemirror: () => import("snippet:codemirror"),
  excalidraw: () => import("snippet:excalidraw"),
  lexical: () => import("snippet:lexical"),
  milkdown: () => import("snippet:milkdown"),
  monaco: () => import("snippet:monaco"),
  prosemirror: () => import("snippet:prosemirror"),
  quill: () => import("snippet:quill"),
  slate: () => import("snippet:slate"),
  tiptap: () => import("snippet:tiptap"),
  tldraw: () => import("snippet:tldraw"),
}

const wanted = new URLSearchParams(location.search)
const editor = wanted.get("editor")
const name = location.hash.slice(1)
const server = location.origin.replace("http", "ws")
const doc = new Y.Doc()
const provider =
  wanted.get("provider") === "hocuspocus"
    ? new HocuspocusProvider({ url: `${server}/hocuspocus`, name, document: doc })
    : new WebsocketProvider(`${server}/rooms`, `documents/${name}`, doc, {
        connect: editor !== "lexical",
        disableBc: true,
      })
const synced = new Promise((resolve) => {
  provider.on("sync", resolve)
  provider.on("synced", resolve)
})
const user = { name: wanted.get("name"), color: "#d9480f" }
const element = document.getElementById("editor")
const { mount } = await EDITORS[editor]()
await mount(element, { doc, provider, synced, user, creator: wanted.has("creator") })
Object.assign(window, { page: { doc, provider, element } })
