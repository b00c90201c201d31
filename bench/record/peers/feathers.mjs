// Feathers over socket.io, on PostgreSQL by Knex; one channel for each key, the simplest form of a live query:
// node feathers.mjs PORT, with DATABASE_URI
import http from 'node:http'
import { feathers } from '@feathersjs/feathers'
import { KnexService } from '@feathersjs/knex'
import socketio from '@feathersjs/socketio'
import knex from 'knex'

class Watch {
  async create({ keys }, { connection }) {
    for (const key of keys) app.channel(`tasks/${key}`).join(connection)
    return {}
  }
}

const database = knex({ client: 'pg', connection: process.env.DATABASE_URI })
await database.schema.createTable('tasks', (table) => {
  table.string('id').primary()
  table.string('key')
  table.integer('n')
})
const app = feathers()
app.configure(socketio({ transports: ['websocket'] }))
app.use('tasks', new KnexService({ Model: database, name: 'tasks', id: 'id' }), { methods: ['create', 'patch'] })
app.use('watch', new Watch(), { methods: ['create'], events: [] })
app.service('tasks').publish((task) => app.channel(`tasks/${task.key}`))
const server = http.createServer((request, response) => response.writeHead(404).end())
await app.setup(server)
server.listen(Number(process.argv[2]), '127.0.0.1')
process.on('SIGTERM', () => process.exit(0))
