import { readdirSync } from "node:fs"

import { svelte } from "@sveltejs/vite-plugin-svelte"
import react from "@vitejs/plugin-react"
import vue from "@vitejs/plugin-vue"
import { defineConfig } from "vite"

const here = import.meta.dirname
const pages = readdirSync(here, { withFileTypes: true }).flatMap((entry) =>
  entry.isDirectory() && readdirSync(`${here}/${entry.name}`).includes("index.html") ? [entry.name] : [],
)

// The pages are shipped inside the Python package, beside the demo page, and served at /examples/<name>/.
export default defineConfig({
  base: "./",
  plugins: [react(), svelte(), vue()],
  build: {
    outDir: "../../collab/server/demo/examples",
    emptyOutDir: true,
    chunkSizeWarningLimit: 2000,
    rolldownOptions: { input: Object.fromEntries(pages.map((name) => [name, `${here}/${name}/index.html`])) },
  },
  server: {
    proxy: { "/realtime": { target: "http://127.0.0.1:8000", ws: true } },
  },
})
