// Applies the updates accepted by the gate to yjs, one JSON object per line (see child.py); writes a line per difference.
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'

const Y = createRequire(new URL('../e2e/clients/', import.meta.url))('yjs')
const bytes = hex => new Uint8Array(Buffer.from(hex, 'hex'))
const clocks = vector => JSON.stringify([...Y.decodeStateVector(vector)].sort((a, b) => a[0] - b[0]))

function disagreement ({ frames, state, full, text }) {
  const doc = new Y.Doc()
  for (const [number, frame] of frames.entries()) {
    try {
      Y.applyUpdate(doc, bytes(frame))
    } catch (error) {
      return `yjs throws at accepted frame ${number} (${frame.slice(0, 200)}): ${error.message}`
    }
    if (doc.store.pendingStructs || doc.store.pendingDs) return `pending after accepted frame ${number} (${frame.slice(0, 200)})`
  }
  if (clocks(Y.encodeStateVector(doc)) !== clocks(bytes(state))) return 'the state vectors differ'
  if (text !== null && doc.getText('t').toString() !== text) return `the texts differ: ${JSON.stringify(doc.getText('t').toString())} and ${JSON.stringify(text)}`
  const joiner = new Y.Doc()
  Y.applyUpdate(joiner, bytes(full))
  if (joiner.store.pendingStructs || joiner.store.pendingDs) return 'the full state leaves something pending'
  if (clocks(Y.encodeStateVector(joiner)) !== clocks(bytes(state))) return 'the full state has other clocks'
}

for await (const line of createInterface({ input: process.stdin })) {
  const sample = JSON.parse(line)
  let found
  try {
    found = disagreement(sample)
  } catch (error) {
    found = error.stack
  }
  if (found) console.log(`sequence ${sample.sample}: ${found}`)
}
