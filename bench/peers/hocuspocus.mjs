// Hocuspocus as its manual starts it. `node hocuspocus.mjs PORT [FILE]`: with FILE, documents live in SQLite,
// through the Database extension over node:sqlite (the SQLite extension's own driver has to be compiled).
import { DatabaseSync } from 'node:sqlite'
import { Database } from '@hocuspocus/extension-database'
import { Server } from '@hocuspocus/server'

const [port, file] = process.argv.slice(2)
const extensions = []
if (file) {
  const db = new DatabaseSync(file)
  db.exec('CREATE TABLE IF NOT EXISTS documents (name TEXT PRIMARY KEY, data BLOB NOT NULL)')
  const select = db.prepare('SELECT data FROM documents WHERE name = ?')
  const upsert = db.prepare(
    'INSERT INTO documents (name, data) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET data = excluded.data'
  )
  extensions.push(new Database({
    fetch: async ({ documentName }) => select.get(documentName)?.data ?? null,
    store: async ({ documentName, state }) => { upsert.run(documentName, state) }
  }))
}
await new Server({ port: Number(port), address: '127.0.0.1', quiet: true, extensions }).listen()
