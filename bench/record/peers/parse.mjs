// Parse Server with LiveQuery in the same process, on PostgreSQL: node parse.mjs PORT, with DATABASE_URI
import http from 'node:http'
import express from 'express'
import { ParseServer } from 'parse-server'

const port = Number(process.argv[2])
const parse = new ParseServer({
  databaseURI: process.env.DATABASE_URI,
  appId: 'bench',
  masterKey: 'bench',
  serverURL: `http://127.0.0.1:${port}/parse`,
  liveQuery: { classNames: ['Task'] },
  allowClientClassCreation: true,
  silent: true,
  logLevel: 'error',
  logsFolder: null,
})
await parse.start()
const app = express()
app.use('/parse', parse.app)
const server = http.createServer(app)
await ParseServer.createLiveQueryServer(server)
server.keepAliveTimeout = 0 // a connection that is closed just when it is used again would be no write that failed
server.listen(port, '127.0.0.1')
process.on('SIGTERM', () => process.exit(0))
