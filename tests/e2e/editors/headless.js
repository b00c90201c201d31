// Real editors on Yjs documents, without a browser: one JSON request a line, one JSON answer a line.
//
// {editor, updates, write}: an editor opens the document of `updates` (hex), its content becomes `write` (in the
// editor's own form) if there is any, and the answer is {updates, shown}: all that it wrote, and what it shows.
import { createInterface } from 'node:readline'
import { JSDOM } from 'jsdom'

const { window } = new JSDOM('<!doctype html><body></body>', { pretendToBeVisual: true, url: 'http://localhost/' })
for (const name of Object.getOwnPropertyNames(window)) {
  if (!(name in globalThis)) globalThis[name] = window[name]
}
for (const name of ['window', 'document', 'Node', 'Event', 'CustomEvent', 'KeyboardEvent', 'MutationObserver']) {
  Object.defineProperty(globalThis, name, { value: name === 'window' ? window : window[name], configurable: true, writable: true })
}
document.elementFromPoint = () => null
window.matchMedia = globalThis.matchMedia = () => ({ matches: false, addListener() {}, removeListener() {}, addEventListener() {}, removeEventListener() {} })
window.Range.prototype.getClientRects = () => []
window.Range.prototype.getBoundingClientRect = () => ({ left: 0, top: 0, right: 0, bottom: 0, width: 0, height: 0 })

const Y = await import('yjs')

// Bindings write what they repair in a later turn.
const settle = () => new Promise((resolve) => setTimeout(resolve, 30))

async function tiptap(doc, write) {
  const { Editor } = await import('@tiptap/core')
  const { StarterKit } = await import('@tiptap/starter-kit')
  const { Collaboration } = await import('@tiptap/extension-collaboration')
  const { TaskList, TaskItem } = await import('@tiptap/extension-list')
  const { TableKit } = await import('@tiptap/extension-table')
  const { Image } = await import('@tiptap/extension-image')
  const editor = new Editor({
    element: document.createElement('div'),
    extensions: [
      StarterKit.configure({ undoRedo: false, trailingNode: false }),
      TaskList,
      TaskItem.configure({ nested: true }),
      TableKit,
      Image,
      Collaboration.configure({ document: doc, field: 'content' }),
    ],
  })
  await settle()
  if (write) editor.commands.setContent(write)
  await settle()
  const shown = { json: editor.getJSON(), html: editor.getHTML() }
  editor.destroy()
  return shown
}

async function prosemirror(doc, write) {
  const { EditorState } = await import('@tiptap/pm/state')
  const { EditorView } = await import('@tiptap/pm/view')
  const { Schema } = await import('@tiptap/pm/model')
  const basic = await import('prosemirror-schema-basic')
  const { addListNodes } = await import('@tiptap/pm/schema-list')
  const schema = new Schema({
    nodes: addListNodes(basic.schema.spec.nodes, 'paragraph block*', 'block'),
    marks: basic.schema.spec.marks,
  })
  const { ySyncPlugin } = await import('y-prosemirror')
  const state = EditorState.create({ schema, plugins: [ySyncPlugin(doc.getXmlFragment('content'))] })
  const view = new EditorView(document.createElement('div'), { state })
  await settle()
  if (write) view.dispatch(view.state.tr.replaceWith(0, view.state.doc.content.size, schema.nodeFromJSON(write).content))
  await settle()
  const shown = { json: view.state.doc.toJSON() }
  view.destroy()
  return shown
}

async function quill(doc, write) {
  const { default: Quill } = await import('quill')
  const { QuillBinding } = await import('y-quill')
  const element = document.body.appendChild(document.createElement('div'))
  const editor = new Quill(element)
  const binding = new QuillBinding(doc.getText('content'), editor)
  if (write) editor.setContents(write, 'user')
  await settle()
  const shown = { json: editor.getContents().ops, html: editor.getSemanticHTML() }
  binding.destroy()
  element.remove()
  return shown
}

async function blocknote(doc, write) {
  const { BlockNoteEditor } = await import('@blocknote/core')
  const { withCollaboration } = await import('@blocknote/core/yjs')
  const collaboration = { fragment: doc.getXmlFragment('content'), user: { name: 'a', color: '#000' } }
  const editor = BlockNoteEditor.create(withCollaboration({ collaboration }))
  const element = document.body.appendChild(document.createElement('div'))
  editor.mount(element)
  await settle()
  if (write) editor.replaceBlocks(editor.document, write)
  await settle()
  const shown = { json: editor.document, html: editor.blocksToHTMLLossy(editor.document) }
  editor.unmount?.()
  element.remove()
  return shown
}

async function lexical(doc, write) {
  const { createHeadlessEditor } = await import('@lexical/headless')
  const { $getRoot, $parseSerializedNode } = await import('lexical')
  const { HeadingNode, QuoteNode } = await import('@lexical/rich-text')
  const { ListNode, ListItemNode } = await import('@lexical/list')
  const { LinkNode, AutoLinkNode } = await import('@lexical/link')
  const { CodeNode, CodeHighlightNode } = await import('@lexical/code')
  const { createBinding, syncLexicalUpdateToYjs, syncYjsChangesToLexical } = await import('@lexical/yjs')
  const nodes = [HeadingNode, QuoteNode, ListNode, ListItemNode, LinkNode, AutoLinkNode, CodeNode, CodeHighlightNode]
  const editor = createHeadlessEditor({ namespace: 'editor', nodes, onError: (error) => { throw error } })
  const away = { getLocalState: () => null, getStates: () => new Map(), on() {}, off() {}, setLocalState() {}, setLocalStateField() {} }
  const provider = { awareness: away, connect() {}, disconnect() {}, on() {}, off() {} }
  const copy = new Y.Doc()
  const binding = createBinding(editor, provider, 'main', copy, new Map([['main', copy]]))
  const root = binding.root.getSharedType()
  root.observeDeep((events, transaction) => {
    if (transaction.origin !== binding) syncYjsChangesToLexical(binding, provider, events, false, () => {})
  })
  editor.registerUpdateListener(({ prevEditorState, editorState, dirtyElements, dirtyLeaves, normalizedNodes, tags }) => {
    if (!tags.has('skip-collab')) {
      syncLexicalUpdateToYjs(binding, provider, prevEditorState, editorState, dirtyElements, dirtyLeaves, normalizedNodes, tags)
    }
  })
  Y.applyUpdate(copy, Y.encodeStateAsUpdate(doc))
  await settle()
  if (write) {
    editor.update(() => {
      $getRoot().clear()
      $getRoot().append(...write.root.children.map($parseSerializedNode))
    }, { discrete: true })
  }
  await settle()
  Y.applyUpdate(doc, Y.encodeStateAsUpdate(copy))
  return { json: editor.getEditorState().toJSON().root.children }
}

const editors = { tiptap, prosemirror, quill, blocknote, lexical }

for await (const line of createInterface({ input: process.stdin })) {
  const { editor, updates, write } = JSON.parse(line)
  const doc = new Y.Doc()
  for (const update of updates) Y.applyUpdate(doc, Uint8Array.from(Buffer.from(update, 'hex')))
  const written = []
  doc.on('update', (update) => written.push(Buffer.from(update).toString('hex')))
  let answer
  try {
    answer = { shown: await editors[editor](doc, write), updates: written }
  } catch (error) {
    answer = { error: error.stack }
  }
  console.log(JSON.stringify(answer))
}
process.exit(0)
