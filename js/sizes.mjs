/**
 * The size of each package in a page: bundled, minified and compressed. Prints JSON, in bytes.
 * `entry` is loaded with the page; `later` only when it is used.
 */
import { fileURLToPath } from "node:url"
import { gzipSync } from "node:zlib"
import { build } from "vite"

const ENTRY = "virtual:entry"
const PAGES = {
  client: `export { LumenizeClient } from "@lumenize/client"`,
  everything: `export * from "@lumenize/client"`,
  one: `export { applySteps } from "@lumenize/client"`,
  documents: `export * from "@lumenize/client/documents"`,
  react: `export * from "@lumenize/react"`,
  svelte: `export * from "@lumenize/svelte"`,
  vue: `export * from "@lumenize/vue"`,
}
// packages that the page has anyway, or provides itself
const ABSENT = [/^(yjs|lib0|y-protocols|ws|react|svelte|vue)(\/|$)/, /^@lumenize\/client$/]

const sizes = {}
for (const [name, code] of Object.entries(PAGES)) {
  const own = name === "client" || name === "everything" || name === "one"
  const { output } = await build({
    configFile: false,
    logLevel: "error",
    root: fileURLToPath(new URL("client", import.meta.url)),
    plugins: [
      {
        name: "entry",
        enforce: "pre",
        resolveId: (id) => (id === ENTRY ? `\0${ENTRY}` : null),
        load: (id) => (id === `\0${ENTRY}` ? code : null),
      },
    ],
    build: {
      write: false,
      modulePreload: false,
      target: "es2022",
      rollupOptions: { input: ENTRY, external: own ? ABSENT.slice(0, 1) : ABSENT, preserveEntrySignatures: "strict" },
    },
  })
  const chunks = new Map(output.map((chunk) => [chunk.fileName, chunk]))
  const entry = output.find(({ isEntry }) => isEntry)
  const first = new Set([entry.fileName])
  for (const file of first) for (const next of chunks.get(file)?.imports ?? []) if (chunks.has(next)) first.add(next)
  const size = (chunk) => gzipSync(chunk.code, { level: 9 }).length
  const sum = (wanted) => wanted.reduce((all, chunk) => all + size(chunk), 0)
  sizes[name] = {
    entry: sum(output.filter(({ fileName }) => first.has(fileName))),
    modules: output.filter(({ fileName }) => first.has(fileName)).flatMap((chunk) => Object.keys(chunk.modules)),
    later: output.filter(({ fileName }) => !first.has(fileName)).map((chunk) => ({ size: size(chunk), modules: Object.keys(chunk.modules) })),
  }
}
console.log(JSON.stringify(sizes))
