/** Quill on a Y.Text with formats. */

import Quill from "quill"
import QuillCursors from "quill-cursors"
import "quill/dist/quill.core.css"
import { QuillBinding } from "y-quill"

import { followNames, PLACEHOLDER, type Action, type Mount } from "./editor"

Quill.register("modules/cursors", QuillCursors)

export const mount: Mount = (parent, room, _me, changed) => {
  const quill = new Quill(parent, {
    placeholder: PLACEHOLDER,
    // No images: one pasted photograph would be a change of several megabytes.
    formats: ["bold", "italic", "strike", "code", "header", "list", "blockquote", "code-block", "link", "indent"],
    modules: { toolbar: false, cursors: true, history: { userOnly: true } },
  })
  quill.root.setAttribute("aria-label", "Quill document")
  const binding = new QuillBinding(room.doc.getText("quill"), quill, room.awareness)
  const stopFollowing = followNames(parent, room)
  quill.on("editor-change", changed)

  const active = (name: string, value: unknown): boolean =>
    quill.hasFocus() && quill.getFormat()[name] === value
  const toggle = (icon: string, title: string, name: string, value: unknown = true): Action => ({
    icon,
    title,
    run: () => {
      quill.focus()
      quill.format(name, active(name, value) ? false : value, Quill.sources.USER)
    },
    active: () => active(name, value),
  })

  return {
    actions: [
      { icon: "undo", title: "Undo", run: () => quill.history.undo() },
      { icon: "redo", title: "Redo", run: () => quill.history.redo() },
      null,
      toggle("h1", "Heading 1", "header", 1),
      toggle("h2", "Heading 2", "header", 2),
      null,
      toggle("bold", "Bold", "bold"),
      toggle("italic", "Italic", "italic"),
      toggle("strike", "Strike", "strike"),
      toggle("code", "Code", "code"),
      null,
      toggle("bullets", "Bullet list", "list", "bullet"),
      toggle("numbers", "Numbered list", "list", "ordered"),
      toggle("quote", "Quote", "blockquote"),
    ],
    focus: () => quill.focus(),
    setEditable: (on) => quill.enable(on),
    destroy: () => {
      stopFollowing()
      binding.destroy()
    },
  }
}
