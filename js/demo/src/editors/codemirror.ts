/** CodeMirror 6 on a Y.Text. */

import { defaultKeymap, indentWithTab } from "@codemirror/commands"
import { markdown, markdownLanguage } from "@codemirror/lang-markdown"
import { HighlightStyle, indentOnInput, syntaxHighlighting } from "@codemirror/language"
import { Compartment, EditorState } from "@codemirror/state"
import {
  drawSelection,
  EditorView,
  highlightActiveLine,
  highlightActiveLineGutter,
  keymap,
  lineNumbers,
  placeholder,
} from "@codemirror/view"
import { tags } from "@lezer/highlight"
import { yCollab, yUndoManagerKeymap } from "y-codemirror.next"
import { UndoManager } from "yjs"

import { followNames, PLACEHOLDER, type Mount } from "./editor"

const highlight = HighlightStyle.define([
  { tag: tags.heading, class: "tok-heading" },
  { tag: tags.strong, class: "tok-strong" },
  { tag: tags.emphasis, class: "tok-emphasis" },
  { tag: tags.strikethrough, class: "tok-strike" },
  { tag: [tags.link, tags.url], class: "tok-link" },
  { tag: tags.monospace, class: "tok-code" },
  { tag: tags.quote, class: "tok-quote" },
  { tag: [tags.processingInstruction, tags.contentSeparator, tags.labelName], class: "tok-mark" },
])

export const mount: Mount = (parent, room, _me, changed) => {
  const text = room.doc.getText("codemirror")
  const undo = new UndoManager(text)
  const editable = new Compartment()
  const view = new EditorView({
    parent,
    state: EditorState.create({
      doc: text.toString(),
      extensions: [
        lineNumbers(),
        highlightActiveLine(),
        highlightActiveLineGutter(),
        drawSelection(),
        indentOnInput(),
        EditorView.lineWrapping,
        EditorView.contentAttributes.of({ "aria-label": "CodeMirror document", spellcheck: "true" }),
        markdown({ base: markdownLanguage }),
        syntaxHighlighting(highlight),
        placeholder(PLACEHOLDER),
        keymap.of([...yUndoManagerKeymap, ...defaultKeymap, indentWithTab]),
        yCollab(text, room.awareness, { undoManager: undo }),
        editable.of([]),
        EditorView.updateListener.of((update) => {
          if (update.docChanged || update.selectionSet) changed()
        }),
      ],
    }),
  })
  const stopFollowing = followNames(parent, room)

  /** Put a mark around the selection, or in front of its lines. */
  const around = (mark: string) => (): void => {
    const { from, to } = view.state.selection.main
    view.dispatch({
      changes: [
        { from, insert: mark },
        { from: to, insert: mark },
      ],
      selection: { anchor: from + mark.length, head: to + mark.length },
    })
    view.focus()
  }
  const before = (mark: string) => (): void => {
    const { from, to } = view.state.selection.main
    const first = view.state.doc.lineAt(from).number
    const last = view.state.doc.lineAt(to).number
    const lines = Array.from({ length: last - first + 1 }, (_, index) => view.state.doc.line(first + index))
    view.dispatch({ changes: lines.map((line) => ({ from: line.from, insert: mark })) })
    view.focus()
  }

  return {
    actions: [
      { icon: "undo", title: "Undo", run: () => undo.undo() },
      { icon: "redo", title: "Redo", run: () => undo.redo() },
      null,
      { icon: "heading", title: "Heading", run: before("# ") },
      { icon: "bold", title: "Bold", run: around("**") },
      { icon: "italic", title: "Italic", run: around("_") },
      { icon: "code", title: "Code", run: around("`") },
      null,
      { icon: "bullets", title: "List", run: before("- ") },
      { icon: "quote", title: "Quote", run: before("> ") },
    ],
    focus: () => view.focus(),
    setEditable: (on) =>
      view.dispatch({
        effects: editable.reconfigure([EditorState.readOnly.of(!on), EditorView.editable.of(on)]),
      }),
    destroy: () => {
      stopFollowing()
      view.destroy()
      undo.destroy()
    },
  }
}
