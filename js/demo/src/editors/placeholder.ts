/** A ProseMirror plugin that marks an empty document, for the style sheet to write in. */

import { Plugin } from "prosemirror-state"
import { Decoration, DecorationSet } from "prosemirror-view"

import { PLACEHOLDER } from "./editor"

export const placeholder = (): Plugin =>
  new Plugin({
    props: {
      decorations: ({ doc }) => {
        const only = doc.childCount === 1 ? doc.firstChild : null
        if (!only?.isTextblock || only.content.size > 0) return null
        const attributes = { class: "is-empty", "data-placeholder": PLACEHOLDER }
        return DecorationSet.create(doc, [Decoration.node(0, only.nodeSize, attributes)])
      },
    },
  })
