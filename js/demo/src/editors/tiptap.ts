/** Tiptap on a Y.XmlFragment. */

import { Editor, Extension } from "@tiptap/core"
import { Collaboration } from "@tiptap/extension-collaboration"
import { CollaborationCaret } from "@tiptap/extension-collaboration-caret"
import { StarterKit } from "@tiptap/starter-kit"

import { caret, followNames, selection, type Mount } from "./editor"
import { placeholder } from "./placeholder"

export const mount: Mount = (parent, room, me, changed) => {
  const editor = new Editor({
    element: parent,
    injectCSS: false,
    extensions: [
      // Yjs provides the history, of the user's own edits only. Every client would append its own trailing
      // paragraph.
      StarterKit.configure({ undoRedo: false, trailingNode: false, link: { openOnClick: false } }),
      Collaboration.configure({ document: room.doc, field: "default" }),
      CollaborationCaret.configure({ provider: room.provider, user: me, render: caret, selectionRender: selection }),
      Extension.create({ name: "placeholder", addProseMirrorPlugins: () => [placeholder()] }),
    ],
    editorProps: { attributes: { "aria-label": "Tiptap document" } },
    onTransaction: changed,
  })
  const stopFollowing = followNames(parent, room)
  const command = () => editor.chain().focus()

  return {
    actions: [
      { icon: "undo", title: "Undo", run: () => command().undo().run() },
      { icon: "redo", title: "Redo", run: () => command().redo().run() },
      null,
      {
        icon: "h1",
        title: "Heading 1",
        run: () => command().toggleHeading({ level: 1 }).run(),
        active: () => editor.isActive("heading", { level: 1 }),
      },
      {
        icon: "h2",
        title: "Heading 2",
        run: () => command().toggleHeading({ level: 2 }).run(),
        active: () => editor.isActive("heading", { level: 2 }),
      },
      null,
      { icon: "bold", title: "Bold", run: () => command().toggleBold().run(), active: () => editor.isActive("bold") },
      {
        icon: "italic",
        title: "Italic",
        run: () => command().toggleItalic().run(),
        active: () => editor.isActive("italic"),
      },
      {
        icon: "strike",
        title: "Strike",
        run: () => command().toggleStrike().run(),
        active: () => editor.isActive("strike"),
      },
      { icon: "code", title: "Code", run: () => command().toggleCode().run(), active: () => editor.isActive("code") },
      null,
      {
        icon: "bullets",
        title: "Bullet list",
        run: () => command().toggleBulletList().run(),
        active: () => editor.isActive("bulletList"),
      },
      {
        icon: "numbers",
        title: "Numbered list",
        run: () => command().toggleOrderedList().run(),
        active: () => editor.isActive("orderedList"),
      },
      {
        icon: "quote",
        title: "Quote",
        run: () => command().toggleBlockquote().run(),
        active: () => editor.isActive("blockquote"),
      },
    ],
    focus: () => editor.commands.focus(),
    setEditable: (on) => editor.setEditable(on, false),
    destroy: () => {
      stopFollowing()
      editor.destroy()
    },
  }
}
