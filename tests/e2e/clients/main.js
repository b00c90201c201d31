// Stock Yjs clients, controlled by JSON commands on standard input, one per line, with one JSON answer per line.
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import * as Y from 'yjs'
import { Client, SharedSocket } from './client.js'
import { complete, exactHash, generator, hash, roots, state } from './document.js'
import { change, randomEdit } from './fields.js'
import { large } from './large.js'
import { halves, odd } from './odd.js'

const clients = new Map()
const sockets = new Map()

const write = (message) => process.stdout.write(JSON.stringify(message) + '\n')
const complain = (error) => write({ complaint: error?.stack ?? String(error) })
// Every y-websocket provider adds one listener to each of these.
process.setMaxListeners(0)
process.on('uncaughtException', complain)
process.on('unhandledRejection', complain)
console.error = (...words) => complain(words.map((word) => word?.stack ?? String(word)).join(' '))
console.warn = () => {}
console.log = () => {} // Yjs says there when it takes another client id

const named = (name) => {
  const client = clients.get(name)
  if (client === undefined) throw new Error(`no client ${name}`)
  return client
}

const shuffle = (list, random) => {
  for (let i = list.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [list[i], list[j]] = [list[j], list[i]]
  }
  return list
}

const matches = (summary, wanted) =>
  Object.entries(wanted).every(([key, value]) => isDeepStrictEqual(summary[key], value))

const until = async (seconds, look, describe) => {
  const deadline = performance.now() + seconds * 1000
  for (;;) {
    const found = look()
    if (found) return found
    if (performance.now() > deadline) throw new Error(`waited ${seconds} s in vain: ${describe()}`)
    await sleep(10)
  }
}

const commands = {
  socket: ({ socket, kind, url }) => { sockets.set(socket, new SharedSocket(kind, url)) },
  create: ({ client, socket, ...how }) => {
    const created = new Client({ ...how, socket: socket === undefined ? undefined : sockets.get(socket) })
    clients.set(client, created)
    return created.doc.clientID
  },
  destroy: ({ client }) => {
    named(client).destroy()
    clients.delete(client)
  },
  // Hocuspocus 3 ignores connect() while its old connection is closing.
  connect: async ({ client }) => {
    await until(5, () => !named(client).closing, () => 'still closing')
    return named(client).connect()
  },
  disconnect: ({ client }) => named(client).disconnect(),
  terminate: ({ client }) => named(client).terminate(),
  abandon: ({ client }) => named(client).abandon(),
  dropAbandoned: ({ client }) => named(client).dropAbandoned(),
  edit: ({ client, seed, count }) => {
    const { editor } = named(client)
    const random = generator(seed)
    for (let n = 0; n < count; n++) editor.edit(random)
  },
  insert: ({ client, index, text }) => {
    const content = named(client).doc.getText('content')
    content.insert(index < 0 ? content.length : index, text)
  },
  set: ({ client, key, value }) => { named(client).doc.getMap('fields').set(key, value) },
  change: ({ client, edits }) => change(named(client).doc, edits),
  // Apply an update as if the page had received it elsewhere: the provider forwards it.
  apply: ({ client, update }) => Y.applyUpdate(named(client).doc, Buffer.from(update, 'hex'), 'elsewhere'),
  // Two documents that also sync directly, as over y-webrtc: each provider forwards the other's updates.
  mesh: ({ client, other }) => {
    const [one, two] = [named(client).doc, named(other).doc]
    for (const [from, to] of [[one, two], [two, one]]) {
      from.on('update', (update, origin) => { if (origin !== to) Y.applyUpdate(to, update, from) })
    }
  },
  // Each types a character in turn, as far as possible at the same place.
  type: async ({ client, other, count }) => {
    for (let n = 0; n < count; n++) {
      for (const name of [client, other]) {
        const text = named(name).doc.getText('content')
        text.insert(text.length >> 1, String.fromCharCode(97 + n % 26))
        await sleep(1)
      }
    }
  },
  // Another provider of the same page on the same document, while the first goes on.
  leak: ({ client, ...how }) => {
    const one = named(client)
    Object.assign(one, how)
    one.leaked = [...(one.leaked ?? []), one.provider]
    one.open()
  },
  become: ({ client, token }) => { named(client).token = token },
  update: ({ client }) => Buffer.from(Y.encodeStateAsUpdate(named(client).doc)).toString('hex'),
  odd: ({ client, edit }) => { ({ ...odd, ...halves })[edit](roots(named(client).doc)) },
  large: ({ client, edit }) => {
    const { doc } = named(client)
    doc.transact(() => large[edit](roots(doc)))
  },
  odds: () => [Object.keys(odd), Object.keys(halves)],
  clear: ({ client }) => { named(client).doc.getText('content').delete(0, named(client).doc.getText('content').length) },
  snapshot: ({ client }) => Buffer.from(Y.encodeSnapshot(Y.snapshot(named(client).doc))).toString('hex'),
  atSnapshot: ({ client, snapshot }) =>
    state(Y.createDocFromSnapshot(named(client).doc, Y.decodeSnapshot(Buffer.from(snapshot, 'hex')))),
  editFields: ({ client, seed, count }) => {
    const { doc, editor } = named(client)
    const random = generator(seed)
    for (let n = 0; n < count; n++) randomEdit(doc, editor.undo, random)
  },
  undo: ({ client }) => { named(client).editor.undo.undo() },
  redo: ({ client }) => { named(client).editor.undo.redo() },
  values: ({ client, root }) => named(client).doc.getMap(root).toJSON(),
  // The map contains exactly these values.
  holds: ({ client, root, wanted, seconds }) => {
    const values = () => JSON.parse(JSON.stringify(named(client).doc.getMap(root).toJSON()))
    return until(seconds, () => isDeepStrictEqual(values(), wanted), () => `wanted ${JSON.stringify(wanted)}, it is ${JSON.stringify(values())}`)
  },
  state: ({ client }) => state(named(client).doc),
  summary: ({ client }) => named(client).summary(),
  setAwareness: ({ client, state }) => named(client).awareness.setLocalState(state),
  awareness: ({ client }) => [...named(client).awareness.getStates()],
  stateless: ({ client, payload }) => named(client).provider.sendStateless(payload),
  sendToken: ({ client, token }) => {
    const { provider } = named(client)
    provider.configuration.token = token
    return provider.sendToken()
  },
  raw: ({ client, frame }) => { named(client).log.sockets.at(-1).send(Buffer.from(frame, 'hex')) },
  wait: ({ client, wanted, seconds }) =>
    until(
      seconds,
      () => {
        const summary = named(client).summary()
        return matches(summary, wanted) && summary
      },
      () => `wanted ${JSON.stringify(wanted)}, it is ${JSON.stringify(named(client).summary())}`
    ),
  // All of them are connected, have no unsaved change, and are equal: their hash.
  converge: ({ clients: names, seconds }) => {
    const settled = () => names.map((name) => named(name).summary())
    return until(
      seconds,
      () => {
        const all = settled()
        const [{ hash }] = all
        return all.every((one) => one.synced && one.complete && one.unsynced === 0 && one.hash === hash) && hash
      },
      () => JSON.stringify(settled().map(({ synced, unsynced, complete, hash, closes }) => ({ synced, unsynced, complete, hash, closes })))
    )
  },
  // A document that yjs alone kept: every update that these clients made, in any order, twice.
  oracle: ({ clients: names, seed }) => {
    const random = generator(seed)
    const doc = new Y.Doc()
    const updates = names.flatMap((name) => named(name).local)
    for (const update of shuffle([...updates, ...updates], random)) Y.applyUpdate(doc, update)
    return { complete: complete(doc), hash: hash(doc), exactHash: exactHash(doc), state: state(doc) }
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const { id, command, ...args } = JSON.parse(line)
  Promise.resolve()
    .then(() => commands[command](args))
    .then(
      (result) => write({ id, result: result ?? null }),
      (error) => write({ id, error: error.message })
    )
}
process.exit(0)
