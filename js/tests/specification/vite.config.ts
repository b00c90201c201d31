import { readdirSync } from "node:fs"

import { svelte } from "@sveltejs/vite-plugin-svelte"
import react from "@vitejs/plugin-react"
import vue from "@vitejs/plugin-vue"
import { defineConfig, type UserConfig } from "vite"

import { specification } from "./plugin.ts"

/** `LUMENIZE_SPEC` names the page. Built are the pages of this folder for a browser, or with `--ssr` `node.ts`. */
export default defineConfig(({ isSsrBuild }): UserConfig => {
  const root = import.meta.dirname
  const entries = isSsrBuild ? ["node.ts"] : readdirSync(root).filter((name) => name.endsWith(".html"))
  return {
    root,
    base: "./",
    logLevel: "warn",
    plugins: [
      specification(process.env["LUMENIZE_SPEC"] as string, root),
      ...(isSsrBuild ? [] : [react(), svelte(), vue()]), // components run in a browser
    ],
    ssr: { noExternal: true, external: ["ws"] },
    build: {
      target: "esnext",
      minify: false,
      chunkSizeWarningLimit: 4000,
      rolldownOptions: { input: entries.map((name) => `${root}/${name}`) },
    },
  }
})
