// A test document: its content, its state as plain values, and random edits.
import { createHash } from 'node:crypto'
import * as Y from 'yjs'

export const roots = (doc) => ({
  content: doc.getText('content'),
  fields: doc.getMap('fields'),
  list: doc.getArray('list'),
  xml: doc.getXmlFragment('xml')
})

// Key order and the order in which equal items were merged differ between equal documents.
const sorted = (value) => {
  if (Array.isArray(value)) return value.map(sorted)
  if (value instanceof Y.Doc) return { document: value.guid } // toJSON gives it as it is, and it refers to itself
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])]))
}

export const state = (doc) => {
  const { content, fields, list, xml } = roots(doc)
  return sorted({ content: content.toDelta(), fields: fields.toJSON(), list: list.toJSON(), xml: xml.toString() })
}

const digest = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest('hex')

// A hash of the content and of everything that was ever inserted.
export const hash = (doc) => digest(Y.encodeStateVector(doc), JSON.stringify(state(doc)))

// The same, with everything that was ever deleted. Equal yjs documents differ here when text has formats: each replica
// deletes redundant format marks by itself, without an update.
export const exactHash = (doc) => digest(Y.encodeSnapshot(Y.snapshot(doc)), JSON.stringify(state(doc)))

export const complete = (doc) => doc.store.pendingStructs === null && doc.store.pendingDs === null

// mulberry32: a test names its seed and gets the same history again.
export const generator = (seed) => () => {
  seed = (seed + 0x6d2b79f5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296
}

// No characters beyond U+FFFF: yjs replaces a surrogate pair that an edit splits, but only in the replica that splits it.
const words = ['alpha', 'beta ', 'γάμμα', '漢字', 'x', '\n', 'delta-delta-delta', 'ä']
const keys = ['title', 'status', 'done', 'meta', 'tags']

export class Editor {
  // `rich`: with formats.
  constructor (doc, rich) {
    this.doc = doc
    this.rich = rich
    this.undo = new Y.UndoManager(Object.values(roots(doc)), { captureTimeout: 0 })
  }

  edit (random) {
    const pick = (list) => list[Math.floor(random() * list.length)]
    const below = (n) => Math.floor(random() * n)
    const value = () => pick([null, true, 0, -1.5, 2 ** 40, 'text 😀', { deep: { list: [1, 'two'] } }, [1, [2]], new Uint8Array([1, 2, 255])])
    const { content, fields, list, xml } = roots(this.doc)
    const choice = random()
    if (choice < 0.35) this.#text(content, random, pick, below)
    else if (choice < 0.55) this.#map(fields, random, pick, value)
    else if (choice < 0.7) this.#array(list, random, below, value)
    else if (choice < 0.9) this.#xml(xml, random, pick, below)
    else if (choice < 0.93) this.undo.undo()
    else if (choice < 0.95) this.undo.redo()
    else {
      this.doc.transact(() => {
        for (let n = 0; n < 4; n++) {
          this.#text(content, random, pick, below)
          this.#map(fields, random, pick, value)
          this.#xml(xml, random, pick, below)
        }
      })
    }
  }

  #text (text, random, pick, below) {
    const length = text.length
    if (random() < 0.6 || length === 0) {
      text.insert(below(length + 1), pick(words), this.rich && random() < 0.3 ? { bold: true } : undefined)
    } else {
      const at = below(length)
      const count = 1 + below(Math.min(5, length - at))
      if (random() < 0.6) text.delete(at, count)
      else if (this.rich && random() < 0.8) text.format(at, count, pick([{ bold: true }, { bold: null }, { color: 'red' }]))
      else text.insertEmbed(at, { image: 'x.png' })
    }
  }

  #map (map, random, pick, value) {
    const key = pick(keys)
    const present = map.get(key)
    if (present instanceof Y.Map && random() < 0.5) this.#map(present, random, pick, value)
    else if (present instanceof Y.Text && random() < 0.5) present.insert(0, pick(words))
    else if (random() < 0.2) map.delete(key)
    else if (random() < 0.2) map.set(key, random() < 0.5 ? new Y.Map([['status', 'new']]) : new Y.Text('nested'))
    else map.set(key, value())
  }

  #array (array, random, below, value) {
    if (array.length === 0 || random() < 0.6) {
      const values = Array.from({ length: 1 + below(3) }, value)
      if (random() < 0.2) values.push(new Y.Map([['n', 1]]))
      array.insert(below(array.length + 1), values)
    } else {
      const at = below(array.length)
      const present = array.get(at)
      if (present instanceof Y.Map && random() < 0.5) present.set('n', below(100))
      else array.delete(at, 1 + below(Math.min(3, array.length - at)))
    }
  }

  #xml (node, random, pick, below) {
    if (node instanceof Y.XmlText) return this.#text(node, random, pick, below)
    if (node instanceof Y.XmlElement && random() < 0.3) {
      if (random() < 0.7) node.setAttribute(pick(['level', 'id', 'class']), pick(words))
      else node.removeAttribute('level')
    } else if (node.length === 0 || random() < 0.5) {
      const child = random() < 0.5 ? new Y.XmlText(pick(words)) : new Y.XmlElement(pick(['paragraph', 'heading', 'p']))
      node.insert(below(node.length + 1), [child])
    } else if (random() < 0.3) {
      node.delete(below(node.length), 1)
    } else {
      this.#xml(node.get(below(node.length)), random, pick, below)
    }
  }
}
