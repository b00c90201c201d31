// One of several Hocuspocus servers that share a Redis, as its manual starts it: `node hocuspocus-redis.mjs PORT`,
// with the port of the Redis in REDIS_PORT.
import { Redis } from '@hocuspocus/extension-redis'
import { Server } from '@hocuspocus/server'

const extensions = [new Redis({ host: '127.0.0.1', port: Number(process.env.REDIS_PORT) })]
await new Server({ port: Number(process.argv[2]), address: '127.0.0.1', quiet: true, extensions }).listen()
