import { readFileSync } from "node:fs"
import { join } from "node:path"

import react from "@vitejs/plugin-react"
import { defineConfig } from "vite"

const here = import.meta.dirname

/** Modules named `snippet:…` are the code blocks of that name in docs/editors.md. */
const snippets = {
  name: "snippets",
  enforce: "pre",
  resolveId(id) {
    // Inside this folder, so that its imports are found in node_modules.
    return id.startsWith("snippet:") ? join(here, `${id.slice("snippet:".length)}.snippet.jsx`) : undefined
  },
  load(id) {
    const found = /([a-z]+)\.snippet\.jsx$/.exec(id)
    if (!found) return undefined
    const page = readFileSync(join(here, "../../../docs/editors.md"), "utf8")
    const block = new RegExp(`^\`\`\`jsx? ${found[1]}\\n(.*?)^\`\`\`$`, "ms").exec(page)
    if (!block) throw new Error(`docs/editors.md has no block ${found[1]}`)
    return block[1]
  },
}

export default defineConfig({
  root: here,
  base: "./",
  logLevel: "warn",
  plugins: [snippets, react()],
  build: { emptyOutDir: true, target: "esnext", minify: false, chunkSizeWarningLimit: 20_000 },
})
