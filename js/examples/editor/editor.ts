/** CodeMirror on a Y.Text. */
import { defaultKeymap, indentWithTab } from "@codemirror/commands"
import { markdown, markdownLanguage } from "@codemirror/lang-markdown"
import { HighlightStyle, indentOnInput, syntaxHighlighting } from "@codemirror/language"
import { EditorState } from "@codemirror/state"
import { drawSelection, EditorView, keymap, placeholder } from "@codemirror/view"
import { tags } from "@lezer/highlight"
import type { DocumentState } from "@lumenize/client/stores"
import { yCollab, yUndoManagerKeymap } from "y-codemirror.next"
import { UndoManager } from "yjs"

const highlight = HighlightStyle.define([
  { tag: tags.heading1, class: "tok-heading tok-first" },
  { tag: tags.heading, class: "tok-heading" },
  { tag: tags.strong, class: "tok-strong" },
  { tag: tags.emphasis, class: "tok-emphasis" },
  { tag: tags.strikethrough, class: "tok-strike" },
  { tag: [tags.link, tags.url], class: "tok-link" },
  { tag: tags.monospace, class: "tok-code" },
  { tag: tags.quote, class: "tok-quote" },
  { tag: [tags.processingInstruction, tags.contentSeparator, tags.labelName], class: "tok-mark" },
])

export function createEditor(
  parent: HTMLElement,
  doc: NonNullable<DocumentState["doc"]>,
  awareness: NonNullable<DocumentState["awareness"]>,
): EditorView {
  const text = doc.getText("content")
  return new EditorView({
    parent,
    state: EditorState.create({
      doc: text.toString(),
      extensions: [
        drawSelection(),
        indentOnInput(),
        EditorView.lineWrapping,
        EditorView.contentAttributes.of({ "aria-label": "Text", spellcheck: "true" }),
        markdown({ base: markdownLanguage }),
        syntaxHighlighting(highlight),
        placeholder("Write something. Markdown is highlighted."),
        keymap.of([...yUndoManagerKeymap, ...defaultKeymap, indentWithTab]),
        yCollab(text, awareness, { undoManager: new UndoManager(text) }),
      ],
    }),
  })
}

/** The line of the cursor, counted from one; `null` while the editor has no focus. */
export function lineOf(view: EditorView): number | null {
  return view.hasFocus ? view.state.doc.lineAt(view.state.selection.main.head).number : null
}
