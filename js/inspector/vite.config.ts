import { defineConfig } from "vite"

const here = import.meta.dirname

// The page is shipped inside the Python package. Who has not signed in gets what is in `door`, and nothing else.
export default defineConfig({
  base: "./",
  build: {
    outDir: "../../collab/server/inspector/page",
    emptyOutDir: true,
    modulePreload: false,
    rolldownOptions: {
      input: { index: `${here}/index.html`, door: `${here}/door.html` },
      output: {
        entryFileNames: ({ name }) => (name === "door" ? "door/[name].js" : "assets/[name]-[hash].js"),
      },
    },
  },
  server: {
    proxy: {
      "/inspect/api": { target: "http://127.0.0.1:8000" },
      "/realtime": { target: "http://127.0.0.1:8000", ws: true },
    },
  },
})
