// One stock provider on one document, and a record of its events.
import { HocuspocusProvider as Provider3, HocuspocusProviderWebsocket as Socket3 } from 'hocuspocus-provider-3'
import { HocuspocusProvider as Provider4, HocuspocusProviderWebsocket as Socket4 } from 'hocuspocus-provider-4'
import WebSocket from 'ws'
import { Awareness } from 'y-protocols/awareness'
import { WebsocketProvider as Websocket2 } from 'y-websocket-2'
import { WebsocketProvider as Websocket3 } from 'y-websocket-3'
import * as Y from 'yjs'
import { complete, Editor, exactHash, hash } from './document.js'

const kinds = {
  'y-websocket-2': [Websocket2],
  'y-websocket-3': [Websocket3],
  'hocuspocus-3': [Provider3, Socket3],
  'hocuspocus-4': [Provider4, Socket4]
}

// Hocuspocus waits a second or more before it reconnects, which would only slow the tests.
const impatient = { delay: 50, minDelay: 20, maxDelay: 500, jitter: false }

// A WebSocket that notes attempts and closes.
const recording = (log) =>
  class extends WebSocket {
    constructor (...args) {
      super(...args)
      log.attempts += 1
      log.sockets.push(this)
      this.on('message', () => { log.frames += 1 })
      this.on('close', (code, reason) => log.closes.push({ code, reason: reason.toString() }))
      this.on('error', () => {})
    }

    send (data, ...rest) {
      if (data.length > 100_000) log.uploads += 1
      super.send(data, ...rest)
    }
  }

const newLog = () => ({ attempts: 0, frames: 0, uploads: 0, sockets: [], closes: [] })

export class SharedSocket {
  constructor (kind, url) {
    this.log = newLog()
    const [, Socket] = kinds[kind]
    this.provider = new Socket({ url, WebSocketPolyfill: recording(this.log), ...impatient })
  }
}

export class Client {
  constructor ({ kind, url, name, token, params, socket, clientID, gc = true, rich = true, connect = true, options = {} }) {
    this.kind = kind
    this.url = url
    this.name = name
    this.token = token
    this.params = params
    this.socket = socket
    this.options = options
    this.doc = new Y.Doc({ gc })
    if (clientID !== undefined) this.doc.clientID = clientID
    this.awareness = new Awareness(this.doc)
    this.editor = new Editor(this.doc, rich)
    this.log = socket === undefined ? newLog() : socket.log
    this.local = []
    this.stateless = []
    this.denied = []
    this.scopes = []
    this.closed = []
    this.presence = { added: 0, removed: 0 }
    this.doc.on('update', (update, origin, doc, transaction) => {
      if (transaction.local) this.local.push(update)
    })
    this.awareness.on('change', ({ added, removed }) => {
      this.presence.added += added.filter((id) => id !== this.doc.clientID).length
      this.presence.removed += removed.filter((id) => id !== this.doc.clientID).length
    })
    this.abandoned = []
    this.open(connect)
  }

  get hocuspocus () {
    return this.kind.startsWith('hocuspocus')
  }

  open (connect = true) {
    const [Provider] = kinds[this.kind]
    if (this.hocuspocus) {
      const place = this.socket === undefined
        ? { url: this.url, WebSocketPolyfill: recording(this.log), autoConnect: connect, ...impatient }
        : { websocketProvider: this.socket.provider }
      this.provider = new Provider({
        name: this.name,
        document: this.doc,
        awareness: this.awareness,
        token: this.token ?? null,
        onStateless: ({ payload }) => this.stateless.push(payload),
        onAuthenticationFailed: ({ reason }) => this.denied.push(reason),
        onAuthenticated: ({ scope }) => this.scopes.push(scope),
        onClose: ({ event }) => this.closed.push(event.code),
        ...place,
        ...this.options
      })
      if (this.socket !== undefined) this.provider.attach()
    } else {
      this.provider = new Provider(this.url, this.name, this.doc, {
        awareness: this.awareness,
        params: this.params ?? (this.token === undefined ? {} : { token: this.token }),
        WebSocketPolyfill: recording(this.log),
        disableBc: true,
        connect,
        ...this.options
      })
      this.provider.on('closed', ({ code }) => this.closed.push(code))
    }
  }

  get connected () {
    return this.hocuspocus ? this.provider.configuration.websocketProvider.status === 'connected' : this.provider.wsconnected
  }

  get closing () {
    return this.log.sockets.some((socket) => socket.readyState === WebSocket.CLOSING)
  }

  // The state that a test can wait for.
  summary () {
    const states = this.awareness.getStates()
    return {
      connected: this.connected,
      synced: this.provider.synced,
      unsynced: this.provider.unsyncedChanges ?? 0,
      complete: complete(this.doc),
      missing: [...(this.doc.store.pendingStructs?.missing ?? [])],
      vector: [...Y.decodeStateVector(Y.encodeStateVector(this.doc))].sort(([a], [b]) => a - b),
      hash: hash(this.doc),
      exactHash: exactHash(this.doc),
      text: this.doc.getText('content').toString(),
      people: states.size,
      others: [...states.keys()].filter((id) => id !== this.doc.clientID).sort((a, b) => a - b),
      id: this.doc.clientID,
      stateless: this.stateless,
      denied: this.denied,
      scopes: this.scopes,
      closed: this.closed,
      closes: this.log.closes,
      attempts: this.log.attempts,
      frames: this.log.frames,
      uploads: this.log.uploads,
      presence: this.presence
    }
  }

  connect () {
    if (this.socket === undefined) this.provider.connect()
    else this.socket.provider.connect()
  }

  disconnect () {
    if (this.socket === undefined) this.provider.disconnect()
    else this.socket.provider.disconnect()
  }

  // Cut the connection without a close frame.
  terminate () {
    for (const socket of this.log.sockets) socket.terminate()
  }

  // Leave the connection open and unused, and connect the same document and awareness again.
  abandon () {
    const { provider } = this
    if (this.hocuspocus) {
      this.doc.off('update', provider.boundDocumentUpdateHandler)
      this.awareness.off('update', provider.boundAwarenessUpdateHandler)
      provider.configuration.websocketProvider.shouldConnect = false
      provider.configuration.websocketProvider.removeAllListeners()
    } else {
      this.doc.off('update', provider._updateHandler)
      this.awareness.off('update', provider._awarenessUpdateHandler)
      provider.shouldConnect = false
      provider.ws.onmessage = provider.ws.onclose = null
    }
    this.abandoned.push(this.log.sockets.at(-1))
    this.open()
  }

  dropAbandoned () {
    for (const socket of this.abandoned.splice(0)) socket.terminate()
  }

  destroy () {
    this.provider.destroy()
    for (const provider of this.leaked ?? []) provider.destroy()
    this.doc.destroy()
    this.dropAbandoned()
  }
}
