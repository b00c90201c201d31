/** Bare ProseMirror on a Y.XmlFragment. */

import { baseKeymap, setBlockType, toggleMark, wrapIn } from "prosemirror-commands"
import { buildInputRules, buildKeymap } from "prosemirror-example-setup"
import { keymap } from "prosemirror-keymap"
import { type MarkType, type NodeType, Schema } from "prosemirror-model"
import { marks, nodes } from "prosemirror-schema-basic"
import { addListNodes, wrapInList } from "prosemirror-schema-list"
import { type Command, EditorState } from "prosemirror-state"
import { EditorView } from "prosemirror-view"
import { redo, undo, yCursorPlugin, ySyncPlugin, yUndoPlugin } from "y-prosemirror"

import { caret, followNames, selection, type Mount } from "./editor"
import { placeholder } from "./placeholder"

const basic = new Schema({ nodes, marks })
const schema = new Schema({
  nodes: addListNodes(basic.spec.nodes, "paragraph block*", "block"),
  marks,
})

const node = (name: string): NodeType => schema.nodes[name] as NodeType
const mark = (name: string): MarkType => schema.marks[name] as MarkType

export const mount: Mount = (parent, room, _me, changed) => {
  let editable = true
  const view = new EditorView(parent, {
    state: EditorState.create({
      schema,
      plugins: [
        ySyncPlugin(room.doc.getXmlFragment("prosemirror")),
        yCursorPlugin(room.awareness, { cursorBuilder: caret, selectionBuilder: selection }),
        yUndoPlugin(),
        keymap({ "Mod-z": undo, "Mod-y": redo, "Mod-Shift-z": redo }),
        buildInputRules(schema),
        keymap(buildKeymap(schema)),
        keymap(baseKeymap),
        placeholder(),
      ],
    }),
    attributes: { "aria-label": "ProseMirror document" },
    editable: () => editable,
    dispatchTransaction(this: EditorView, transaction) {
      // Not `view`: the first transaction comes from within the constructor.
      this.updateState(this.state.apply(transaction))
      changed()
    },
  })
  const stopFollowing = followNames(parent, room)

  const run = (command: Command) => (): void => {
    command(view.state, view.dispatch, view)
    view.focus()
  }
  const hasMark = (name: string) => (): boolean => {
    const { from, to, empty, $from } = view.state.selection
    const type = mark(name)
    if (empty) return type.isInSet(view.state.storedMarks ?? $from.marks()) !== undefined
    return view.state.doc.rangeHasMark(from, to, type)
  }
  const isHeading = (level: number) => (): boolean => {
    const { parent: block } = view.state.selection.$from
    return block.type === node("heading") && block.attrs["level"] === level
  }
  const heading = (level: number): Command => (state, dispatch, editor) =>
    (isHeading(level)() ? setBlockType(node("paragraph")) : setBlockType(node("heading"), { level }))(
      state,
      dispatch,
      editor,
    )

  return {
    actions: [
      { icon: "undo", title: "Undo", run: run(undo) },
      { icon: "redo", title: "Redo", run: run(redo) },
      null,
      { icon: "h1", title: "Heading 1", run: run(heading(1)), active: isHeading(1) },
      { icon: "h2", title: "Heading 2", run: run(heading(2)), active: isHeading(2) },
      null,
      { icon: "bold", title: "Bold", run: run(toggleMark(mark("strong"))), active: hasMark("strong") },
      { icon: "italic", title: "Italic", run: run(toggleMark(mark("em"))), active: hasMark("em") },
      { icon: "code", title: "Code", run: run(toggleMark(mark("code"))), active: hasMark("code") },
      null,
      { icon: "bullets", title: "Bullet list", run: run(wrapInList(node("bullet_list"))) },
      { icon: "numbers", title: "Numbered list", run: run(wrapInList(node("ordered_list"))) },
      { icon: "quote", title: "Quote", run: run(wrapIn(node("blockquote"))) },
    ],
    focus: () => view.focus(),
    setEditable: (on) => {
      editable = on
      view.setProps({})
    },
    destroy: () => {
      stopFollowing()
      view.destroy()
    },
  }
}
