// Every content of a Yjs document in every place: node contents.mjs generate FIRST COUNT STEPS [cut] writes one JSON
// object per line. With `cut`, edits may split a surrogate pair, as a diff of two strings does.
//
// Three documents nest every shared type in every other, with marks, embeds, attributes and bytes, and make the edits
// of editors: ProseMirror (overlapping marks), Quill (embeds, headings), Lexical (maps in XML texts), Slate (nested XML
// texts), boards (XML in maps in arrays). `updates` are hex, in an order in which a server may receive them; `shapes`
// are the contents after some numbers of updates, `[number, shape]`.
//
// node contents.mjs shapes: writes the shape for each line `{"updates": [hex, ...]}` of standard input.
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'

const Y = createRequire(new URL('../e2e/clients/', import.meta.url))('yjs')
const hex = bytes => Buffer.from(bytes).toString('hex')
const bytes = text => new Uint8Array(Buffer.from(text, 'hex'))

const ROOTS = { text: 'getText', rich: 'getText', map: 'getMap', cards: 'getMap', array: 'getArray', xml: 'getXmlFragment' }
const roots = doc => [...Object.entries(ROOTS).map(([name, get]) => doc[get](name)), doc.get('lexical', Y.XmlText)]

const plain = value => {
  if (value instanceof Y.AbstractType) return shape(value)
  if (value instanceof Uint8Array) return { $bytes: hex(value) }
  if (value === undefined) return { $undefined: true }
  if (typeof value === 'bigint') return Number(value) // what the CRDT library of the server makes of it
  if (typeof value === 'number' && !Number.isFinite(value)) return { $number: String(value) }
  if (Array.isArray(value)) return value.map(plain)
  if (value && typeof value === 'object') return members(Object.entries(value))
  return value
}
const members = entries => Object.fromEntries(entries.sort(([a], [b]) => a < b ? -1 : 1).map(([key, value]) => [key, plain(value)]))
const entriesOf = type => [...type._map].filter(([, item]) => !item.deleted).map(([key, item]) => [key, item.content.getContent()[item.length - 1]])

function shape (type) {
  const list = type instanceof Y.Text // Y.XmlText too
    ? type.toDelta().map(part => [plain(part.insert), plain(part.attributes ?? {})])
    : type instanceof Y.Map ? [] : type.toArray().map(plain)
  return { type: type.constructor.name, name: type.nodeName ?? null, entries: members(entriesOf(type)), list }
}
const shapeOf = updates => {
  const doc = new Y.Doc()
  roots(doc)
  doc.transact(() => updates.forEach(update => Y.applyUpdate(doc, update)))
  if (doc.store.pendingStructs || doc.store.pendingDs) throw new Error('something is missing')
  return roots(doc).map(shape)
}

const WORDS = ['a', 'hello ', 'é', '😀', '中文', 'x😀y', '\n', 'qwertyuiop']
const KEYS = ['k', 'l', 'ключ', '__type']
const MARKS = ['bold', 'link', 'em', 'comment--x1', 'header', 'color']
const MARK_VALUES = [true, null, {}, { href: '/?a="b"' }, 2, '#ff0']
const EMBEDS = [{ image: 'x.png' }, { formula: ['e', { z: 1e21 }] }, { mention: { id: 1 } }]
const VALUES = [
  () => 1, () => -5.5, () => -0, () => 2 ** 40, () => 1e300, () => NaN, () => 5n, () => true, () => null, () => 'text 😀',
  () => [1, [2, { a: null }]], () => ({ k: { l: [] }, m: new Uint8Array([7]) }), () => new Uint8Array([1, 2, 255]), () => ({ u: undefined })
]

class History {
  constructor (seed) {
    this.seed = seed * 7919 + 1
    this.updates = []
    this.docs = [1, 70_000, 2 ** 32 - 5].map((id, i) => {
      const doc = new Y.Doc({ gc: i !== 1 })
      doc.clientID = id
      doc.on('update', (update, origin) => {
        if (origin === 'remote') return
        this.updates.push(update)
        this.queues.forEach((queue, j) => j === i || queue.push(update))
      })
      return doc
    })
    this.queues = this.docs.map(() => [])
  }

  below (n) { // a linear congruential generator: the same everywhere
    this.seed = (this.seed * 1103515245 + 12345) % 2147483648
    return Math.floor(this.seed / 2147483648 * n)
  }

  pick = from => from[this.below(from.length)]
  value = () => this.pick(VALUES)()
  marks = () => Object.fromEntries([...Array(this.below(3))].map(() => [this.pick(MARKS), this.pick(MARK_VALUES)]))

  types (doc) {
    const found = []
    const walk = (type, depth) => {
      if (!(type instanceof Y.AbstractType) || depth > 8) return
      found.push(type)
      entriesOf(type).forEach(([, value]) => walk(value, depth + 1))
      if (type instanceof Y.Text) type.toDelta().forEach(part => walk(part.insert, depth + 1))
      else if (!(type instanceof Y.Map)) type.toArray().forEach(value => walk(value, depth + 1))
    }
    roots(doc).forEach(type => walk(type, 0))
    return found
  }

  xml = () => this.pick([
    () => new Y.XmlText(this.pick(WORDS)), () => new Y.XmlElement(this.pick(['paragraph', 'h1', 'bulletList'])),
    () => { // as y-prosemirror writes a paragraph
      const element = new Y.XmlElement('paragraph')
      const text = new Y.XmlText()
      text.applyDelta([{ insert: 'one ' }, { insert: 'two', attributes: { strong: {}, em: {} } }, { insert: ' three', attributes: { em: {} } }])
      element.insert(0, [text])
      element.setAttribute('level', 2)
      element.setAttribute('colwidth', [100, 200])
      return element
    }
  ])()

  type = () => this.pick([
    () => new Y.Map([['k', 1], ['m', new Y.Map()]]), () => Y.Array.from([1, 'x', new Uint8Array([9])]), () => new Y.Text('in 😀'),
    () => new Y.XmlFragment(), this.xml,
    () => { // a card with a body
      const body = new Y.XmlFragment()
      body.insert(0, [this.xml()])
      return new Y.Map([['title', this.pick(WORDS)], ['body', body], ['tags', Y.Array.from(['a'])], ['icon', new Uint8Array([1])]])
    },
    () => { // as Lexical writes a paragraph
      const node = new Y.XmlText()
      node.applyDelta([{ insert: new Y.Map([['__type', 'text'], ['__format', this.below(4)]]) }, { insert: this.pick(WORDS) }])
      node.setAttribute('__type', 'paragraph')
      node.setAttribute('__indent', 0)
      return node
    }
  ])()

  between (text, at) {
    if (process.argv[6] === 'cut') return at
    return at > 0 && at < text.length && /[\uDC00-\uDFFF]/.test(text[at]) ? at - 1 : at
  }

  editText (type) {
    const text = type.toDelta().map(part => typeof part.insert === 'string' ? part.insert : '\0').join('')
    const from = this.between(text, this.below(text.length + 1))
    const to = this.between(text, Math.min(text.length, from + this.below(8)))
    switch (this.below(12)) {
      case 0: case 1: return type.insert(from, this.pick(WORDS))
      case 2: return type.insert(from, this.pick(WORDS), this.marks())
      case 3: case 4: return to > from && type.delete(from, to - from)
      case 5: case 6: return to > from && type.format(from, to - from, this.marks())
      case 7: return type.insertEmbed(from, this.pick(EMBEDS), this.marks())
      case 8: return type.insertEmbed(from, this.type(), this.marks())
      case 9: return type.setAttribute(this.pick(KEYS), this.below(2) ? this.value() : this.type())
      case 10: return type.removeAttribute(this.pick(KEYS))
      case 11: return type.applyDelta([{ retain: from }, { insert: '\n', attributes: { header: 1 } }, ...(to > from ? [{ delete: to - from }] : [])])
    }
  }

  edit (doc) {
    const type = this.pick(this.types(doc))
    if (type instanceof Y.Text) return this.editText(type)
    if (type instanceof Y.Map) {
      const key = this.pick(KEYS)
      return [() => type.set(key, this.value()), () => type.set(key, this.type()), () => type.delete(key)][this.below(3)]()
    }
    if (type instanceof Y.XmlElement && this.below(3) === 0) {
      const key = this.pick(KEYS)
      return this.below(4) ? type.setAttribute(key, this.below(3) ? this.value() : this.type()) : type.removeAttribute(key)
    }
    const at = this.below(type.length + 1)
    if (this.below(5) > 2) return type.length > at && type.delete(at, Math.min(type.length - at, 1 + this.below(3)))
    type.insert(at, type instanceof Y.Array ? this.pick([() => [this.value(), this.value()].filter(value => typeof value !== 'bigint'), () => [this.type()], () => [1, this.type(), 'two']])() : [this.xml()])
  }

  run (steps) {
    const moments = []
    for (let n = 0; n < steps; n++) {
      const i = this.below(this.docs.length)
      if (this.below(8)) this.edit(this.docs[i])
      else this.docs[i].transact(() => { for (let n = this.below(6); n >= 0; n--) this.edit(this.docs[i]) })
      const queue = this.queues[this.below(this.docs.length)]
      const doc = this.docs[this.queues.indexOf(queue)]
      queue.splice(0, this.below(5)).forEach(update => Y.applyUpdate(doc, update, 'remote'))
      if (this.below(Math.ceil(steps / 4)) === 0) moments.push(this.updates.length)
    }
    moments.push(this.updates.length)
    return { updates: this.updates.map(hex), shapes: moments.map(n => [n, shapeOf(this.updates.slice(0, n))]) }
  }
}

if (process.argv[2] === 'generate') {
  const [first, count, steps] = process.argv.slice(3).map(Number)
  for (let seed = first; seed < first + count; seed++) console.log(JSON.stringify({ seed, ...new History(seed).run(steps) }))
} else {
  for await (const line of createInterface({ input: process.stdin })) {
    console.log(JSON.stringify(shapeOf(JSON.parse(line).updates.map(bytes))))
  }
}
