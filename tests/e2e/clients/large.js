// Large edits as clients make them, each in one transaction.
import * as Y from 'yjs'

const runs = (count) => {
  const delta = []
  for (let n = 0; n < count; n++) delta.push(n % 2 ? { insert: `word ${n} ` } : { insert: `bold ${n} `, attributes: { bold: true } })
  return delta
}

const paragraphs = (count, from = 0) =>
  Array.from({ length: count }, (_, n) => {
    const paragraph = new Y.XmlElement('paragraph')
    paragraph.setAttribute('id', `p${from + n}`)
    paragraph.insert(0, [new Y.XmlText(`paragraph ${from + n}`)])
    return paragraph
  })

export const large = {
  // each marked word is three parts: the mark, the word, the end of the mark
  'a text of 75,000 words, every other one marked': ({ content }) => content.applyDelta(runs(75_000)),
  'a list of 150,000 maps': ({ list }) => list.insert(0, Array.from({ length: 150_000 }, () => new Y.Map())),
  'a page of 3,000 paragraphs with a picture of 3 MB': ({ xml }) => {
    xml.insert(0, paragraphs(3000))
    const picture = new Y.XmlElement('image')
    picture.setAttribute('src', `data:image/png;base64,${'A'.repeat(3_000_000)}`)
    xml.insert(1500, [picture])
  },
  'a sub-document in the middle of 20,000 maps': ({ list, fields }) => {
    const maps = (count) => Array.from({ length: count }, () => new Y.Map())
    list.insert(0, [...maps(10_000), new Y.Doc(), ...maps(10_000)])
    fields.set('after', true)
  }
}
