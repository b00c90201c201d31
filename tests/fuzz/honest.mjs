// The messages of real yjs documents: node honest.mjs FIRST COUNT STEPS writes one JSON object per seed and line.
//
// Five documents edit text, rich text, maps, arrays and XML, undo and redo, and receive each other's updates late and
// out of order. `traffic` is [kind, hex] in order of sending: `live` updates, `merged` ones, `step2` (the difference to
// another document), `full` states, and at the end a `final` state of each, after all have received everything.
// `incomplete` means that a document had pending structs when it sent.
import { createRequire } from 'node:module'

const Y = createRequire(new URL('../e2e/clients/', import.meta.url))('yjs')
const [first, count, steps] = process.argv.slice(2).map(Number)
const WORDS = ['a', 'hello ', 'é', '😀', '中文', 'x😀y', '\n', 'qwertyuiop']
const KEYS = ['k', 'l', 'ключ', 'm']
const VALUES = [1, -5, 1.5, 2 ** 40, 1e300, true, null, 'str', '😀', [1, [2, { a: 1 }]], { k: { l: [] } }, new Uint8Array([1, 2])]
const FORMATS = [true, null, { href: 'x' }, 'é"\\', 3]
const CLIENTS = [1, 200, 70_000, 2 ** 31 + 3, 2 ** 32 - 5]

class History {
  constructor (seed) {
    this.seed = seed * 7919 + 1
    this.traffic = []
    this.docs = CLIENTS.map((id, i) => {
      const doc = new Y.Doc({ gc: i !== 4 })
      doc.clientID = id
      doc.on('update', (update, origin) => {
        if (origin === 'remote') return
        this.say('live', update)
        this.queues.forEach((queue, j) => j === i || queue.push(update))
      })
      return doc
    })
    this.queues = this.docs.map(() => [])
    this.undo = this.docs.map(doc => new Y.UndoManager(this.roots(doc), { captureTimeout: 0 }))
  }

  roots = doc => [doc.getText('t'), doc.getText('f'), doc.getMap('m'), doc.getArray('a'), doc.getXmlFragment('x')]
  below (n) { // a linear congruential generator: the same everywhere
    this.seed = (this.seed * 1103515245 + 12345) % 2147483648
    return Math.floor(this.seed / 2147483648 * n)
  }

  pick = from => from[this.below(from.length)]
  say (kind, update, doc) {
    const incomplete = Boolean(doc && (doc.store.pendingStructs || doc.store.pendingDs))
    this.traffic.push([kind, Buffer.from(update).toString('hex'), incomplete])
  }

  types (doc) {
    const found = []
    const walk = type => {
      if (!(type instanceof Y.AbstractType)) return
      found.push(type)
      if (type instanceof Y.Map) type.forEach(walk)
      else if (type instanceof Y.Text) type.toDelta().forEach(part => walk(part.insert))
      else type.toArray().forEach(walk)
    }
    this.roots(doc).forEach(walk)
    return found
  }

  nested = () => this.pick([
    () => new Y.Map(), () => new Y.Array(), () => new Y.Text('in'),
    () => new Y.Map([['k', 1], ['m', new Y.Map()]]), () => Y.Array.from([1, 2, 'x'])
  ])()

  editText (type) {
    const text = type.toString()
    if (text.length !== type.length) return type.insert(type.length, this.pick(WORDS))
    const from = this.below(text.length + 1) // which may be in the middle of a character
    const to = Math.min(text.length, from + this.below(8))
    switch (this.below(9)) {
      case 0: case 1: case 2: return type.insert(from, this.pick(WORDS))
      case 3: case 4: return to > from && type.delete(from, to - from)
      case 5: return to > from && type.format(from, to - from, { [this.pick(['bold', 'link', 'em'])]: this.pick(FORMATS) })
      case 6: return type.insertEmbed(from, this.pick([{ image: 'x.png' }, { n: [1, 2, { z: 1e21 }] }]))
      case 7: return type.insertEmbed(from, new Y.Map([['e', 1]]))
      case 8: return type.setAttribute(this.pick(['x', 'y']), this.pick([1, 'q', true]))
    }
  }

  editList (type, make) {
    const at = this.below(type.length + 1)
    if (this.below(5) < 3) type.insert(at, make())
    else if (type.length > at) type.delete(at, Math.min(type.length - at, 1 + this.below(3)))
  }

  edit (doc) {
    const type = this.pick(this.types(doc))
    if (type instanceof Y.Text) return this.editText(type)
    if (type instanceof Y.Array) {
      return this.editList(type, () => this.pick([
        () => [this.pick(VALUES), this.pick(VALUES)], () => [this.nested()],
        () => [1, 'two', this.nested(), new Uint8Array(3), { x: 1 }]
      ])())
    }
    if (type instanceof Y.Map) {
      const key = this.pick(KEYS)
      return [() => type.set(key, this.pick(VALUES)), () => type.set(key, this.nested()), () => type.delete(key)][this.below(3)]()
    }
    if (type instanceof Y.XmlElement && this.below(4) === 0) return type.setAttribute('a', this.pick(['1', '2']))
    return this.editList(type, () => [this.below(2) ? new Y.XmlElement(this.pick(['p', 'h1'])) : new Y.XmlText('txt')])
  }

  step () {
    const i = this.below(this.docs.length)
    const doc = this.docs[i]
    switch (this.below(12)) {
      case 0: this.undo[i].undo(); break
      case 1: this.undo[i].redo(); break
      case 2: doc.transact(() => { for (let n = this.below(6); n >= 0; n--) this.edit(doc) }); break
      default: this.edit(doc)
    }
    this.hear(this.below(this.docs.length), this.below(4))
    const other = this.docs[this.below(this.docs.length)]
    switch (this.below(60)) {
      case 0: case 1: return this.say('full', Y.encodeStateAsUpdate(doc), doc)
      case 2: case 3: {
        const update = Y.encodeStateAsUpdate(doc, Y.encodeStateVector(other))
        Y.applyUpdate(other, update, 'remote')
        return this.say('step2', update, doc)
      }
      case 4: {
        const live = this.traffic.filter(([kind]) => kind === 'live').slice(-2 - this.below(8))
        return this.say('merged', Y.mergeUpdates(live.map(([, hex]) => new Uint8Array(Buffer.from(hex, 'hex')))))
      }
    }
  }

  hear (i, n) {
    const queue = this.queues[i]
    for (; n > 0 && queue.length; n--) {
      Y.applyUpdate(this.docs[i], queue.splice(this.below(Math.min(queue.length, 4)), 1)[0], 'remote')
    }
  }

  run (steps) {
    for (let n = 0; n < steps; n++) this.step()
    this.docs.forEach((doc, i) => this.hear(i, Infinity))
    for (const doc of this.docs) this.say('final', Y.encodeStateAsUpdate(doc), doc)
    const [text, rich, , , xml] = this.roots(this.docs[0])
    return {
      traffic: this.traffic,
      state: Buffer.from(Y.encodeStateVector(this.docs[0])).toString('hex'),
      text: text.toString(),
      rich: rich.toString(),
      xml: xml.toString()
    }
  }
}

for (let seed = first; seed < first + count; seed++) {
  console.log(JSON.stringify({ seed, ...new History(seed).run(steps) }))
}
