// Edits that real editors make and servers stumble over.
import * as Y from 'yjs'

const nest = (depth) => {
  const outermost = new Y.Map()
  for (let n = 1, inner = outermost; n < depth; n++) {
    const next = n % 2 ? new Y.Array() : new Y.Map()
    if (inner instanceof Y.Map) inner.set('k', next)
    else inner.insert(0, [next])
    inner = next
  }
  return outermost
}

export const odd = {
  // An editor that compares strings by UTF-16 unit deletes the surrogate in which two characters differ.
  'half a character deleted': ({ content }) => {
    content.insert(0, '😀😃')
    content.delete(1, 1)
  },
  'text between the halves of a character': ({ content }) => {
    content.insert(0, 'a😀b')
    content.insert(2, 'between')
  },
  'a mark on half a character': ({ content }) => {
    content.insert(0, '😀 bold')
    content.format(0, 1, { bold: true })
  },
  'an embed between halves inside a nested text': ({ fields }) => {
    fields.set('note', new Y.Text('x🦊y'))
    fields.get('note').insertEmbed(2, { image: 'x.png' })
  },
  'a sub-document': ({ fields }) => {
    fields.set('page', 'before')
    fields.set('page', new Y.Doc())
  },
  'a sub-document in a list': ({ list }) => {
    list.insert(0, [1, new Y.Doc(), 2])
    list.insert(2, ['behind it'])
  },
  'a key named __proto__': ({ fields, list }) => {
    list.insert(0, [1, JSON.parse('{"__proto__": {"a": 1}}'), 'two'])
    fields.set('after', true)
  },
  'an entry, a mark and an embed named __proto__': ({ fields, content }) => {
    fields.set('before', 1)
    fields.set('__proto__', { a: 1 })
    content.insert(0, 'marked')
    content.format(0, 3, JSON.parse('{"__proto__": true}'))
    content.insertEmbed(3, JSON.parse('{"image": {"__proto__": 1}}'))
    fields.set('after', true)
  },
  'types nested deeply': ({ list }) => { list.insert(0, [nest(120)]) },
  'values nested too deeply': ({ fields }) => {
    fields.set('tree', JSON.parse('['.repeat(150) + ']'.repeat(150)))
    fields.set('leaf', JSON.parse('['.repeat(90) + ']'.repeat(90)))
  },
  'a key that is too long': ({ fields }) => {
    fields.set('k'.repeat(5000), 1)
    fields.set('k'.repeat(5000), 2)
    fields.set('k'.repeat(4000), 3)
  },
  'a large number in an embed': ({ content }) => { content.insertEmbed(0, { n: 2 ** 63 }) }
}

// Edits after which the writer sees another text than everybody else, until its page is reloaded.
export const halves = {
  'a character replaced by one with the same first half': ({ content }) => {
    content.insert(0, '😀')
    content.insert(1, '😃'[1])
    content.delete(2, 1)
  },
  'half a character in a mark': ({ content }) => content.insert(0, 'name', { author: '🦊'[0] }),
  'half a character in an embed': ({ content }) => content.insertEmbed(0, { ['🦊'[1]]: ['🦊'[0]] }),
  'half a character in a value and a key': ({ fields }) => fields.set('🦊'[0], '🦊'[1]),
  'half a character typed': ({ content }) => content.insert(0, '🦊'[0])
}
