// Edits of maps of JSON fields, given as plain values, and random ones.
import * as Y from 'yjs'

// {$map: {…}}, {$array: […]} and {$text: '…'} stand for shared types, nested to any depth.
const shared = (value) => {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return value
  if ('$map' in value) return new Y.Map(Object.entries(value.$map).map(([key, one]) => [key, shared(one)]))
  if ('$array' in value) return Y.Array.from(value.$array.map(shared))
  if ('$text' in value) return new Y.Text(value.$text)
  return value
}

const at = (doc, [root, ...path]) => path.reduce((type, step) => type.get(step), doc.getMap(root))

const edits = {
  set: (doc, path, value) => { at(doc, path.slice(0, -1)).set(path.at(-1), shared(value)) },
  delete: (doc, path) => { at(doc, path.slice(0, -1)).delete(path.at(-1)) },
  insert: (doc, path, index, values) => { at(doc, path).insert(index, values.map(shared)) },
  type: (doc, path, index, text) => { at(doc, path).insert(index, text) },
  cut: (doc, path, index, count) => { at(doc, path).delete(index, count) }
}

// Make edits like ['set', ['fields', 'title'], 'x'] in one transaction.
export const change = (doc, wanted) => {
  doc.transact(() => { for (const [name, ...how] of wanted) edits[name](doc, ...how) })
}

const names = ['title', 'status', 'done', 'meta', 'tags', 'note']

// One random edit of the map `fields`.
export const randomEdit = (doc, undo, random) => {
  const pick = (list) => list[Math.floor(random() * list.length)]
  const below = (n) => Math.floor(random() * n)
  const plain = () => pick([null, true, false, 0, -1.5, below(1000), 2 ** 40, 'text 😀', '', { deep: { list: [1, 'two'] } }, [1, [2]], []])
  const type = () => pick([
    () => new Y.Map([['n', below(10)], ['inner', new Y.Map([['x', 1]])]]),
    () => Y.Array.from([below(10), 'a']),
    () => new Y.Text('nested')
  ])()
  const inside = (value) => {
    if (value instanceof Y.Text) {
      if (value.length > 0 && random() < 0.4) value.delete(below(value.length), 1)
      else value.insert(below(value.length + 1), pick(['a', 'ö', '漢', '😀']))
    } else if (value instanceof Y.Array) {
      if (value.length > 0 && random() < 0.4) value.delete(below(value.length), 1)
      else value.insert(below(value.length + 1), [random() < 0.2 ? new Y.Map([['m', below(9)]]) : plain()])
    } else if (random() < 0.3 && value.get('inner') instanceof Y.Map) inside(value.get('inner'))
    else if (random() < 0.3) value.delete('n')
    else value.set('n', plain())
  }
  const edit = () => {
    const fields = doc.getMap('fields')
    const key = pick(names)
    const present = fields.get(key)
    if (present instanceof Y.AbstractType && random() < 0.6) inside(present)
    else if (random() < 0.2) fields.delete(key)
    else fields.set(key, random() < 0.25 ? type() : plain())
  }
  const choice = random()
  if (choice < 0.08) undo.undo()
  else if (choice < 0.12) undo.redo()
  else if (choice < 0.3) doc.transact(() => { for (let n = 0; n < 3; n++) edit() })
  else edit()
}
