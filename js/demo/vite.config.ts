import { defineConfig } from "vite"

// The page is shipped inside the Python package and served from its root by `collab demo`.
export default defineConfig({
  base: "./",
  build: {
    outDir: "../../collab/server/demo",
    emptyOutDir: true,
    chunkSizeWarningLimit: 2000,
  },
  server: {
    proxy: { "/hocuspocus": { target: "http://127.0.0.1:8000", ws: true } },
  },
})
