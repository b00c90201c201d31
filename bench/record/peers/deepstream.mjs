// deepstream on PostgreSQL, by Node's own HTTP server (uWebSockets.js is not on npm):
// node deepstream.mjs PORT, with DATABASE_URI
import server from '@deepstream/server'

const database = new URL(process.env.DATABASE_URI)
const endpoint = {
  urlPath: '/deepstream-json', heartbeatInterval: 30000, outgoingBufferTimeout: 0, maxBufferByteSize: 100000,
  headers: [], unauthenticatedClientTimeout: 180000, maxAuthAttempts: 3, logInvalidAuthData: false,
  maxMessageSize: 1048576,
}
const deepstream = new server.Deepstream({
  showLogo: false,
  exitOnFatalError: true,
  connectionEndpoints: [{ type: 'ws-json', options: endpoint }],
  httpServer: {
    type: 'default',
    options: {
      host: '127.0.0.1', port: Number(process.argv[2]), healthCheckPath: '/', allowAllOrigins: true, origins: [],
      headers: [], maxMessageSize: 1048576,
    },
  },
  storage: {
    name: 'postgres',
    options: {
      host: database.hostname, port: Number(database.port), user: database.username, database: 'postgres',
      schema: 'bench', max: 10,
      writeInterval: 1, // ms; by default writes wait for up to 200, and their acknowledgements with them
      notifications: { CREATE_TABLE: false, DESTROY_TABLE: false, INSERT: false, UPDATE: false, DELETE: false },
    },
  },
})
deepstream.start()
process.on('SIGTERM', () => process.exit(0))
