// Triplit on LMDB: node triplit.mjs PORT FOLDER
import { createServer } from '@triplit/server'
import { LmdbKVStore } from '@triplit/db/storage/lmdb'
import { open } from 'lmdb'

const [port, folder] = process.argv.slice(2)
const start = await createServer({
  // without overlappingSync a commit is on disk before its promise resolves
  storage: new LmdbKVStore(open(`${folder}/triplit`, { overlappingSync: false })),
  jwtSecret: 'a secret of the benchmark, of 32 bytes at least',
  projectId: 'bench',
  logHandler: { log() {}, startSpan() {} },
})
start(Number(port))
process.on('SIGTERM', () => process.exit(0))
