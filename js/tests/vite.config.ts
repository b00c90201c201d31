import { readdirSync } from "node:fs"

import { svelte } from "@sveltejs/vite-plugin-svelte"
import react from "@vitejs/plugin-react"
import vue from "@vitejs/plugin-vue"
import { defineConfig, type UserConfig } from "vite"

/**
 * `ROOT` holds the pages to build (by default those of the packages' own tests), and `--outDir` says where to.
 * With `--ssr` the entries are modules for Node.
 */
export default defineConfig(({ isSsrBuild }): UserConfig => {
  const root = process.env["ROOT"] ?? `${import.meta.dirname}/src`
  const names = isSsrBuild
    ? readdirSync(`${import.meta.dirname}/ssr`).filter((name) => name.endsWith(".ts"))
    : readdirSync(root).filter((name) => name.endsWith(".html"))
  const folder = isSsrBuild ? `${import.meta.dirname}/ssr` : root
  return {
    root,
    base: "./",
    logLevel: "warn",
    plugins: [react(), svelte(), vue()],
    // one copy of every module in Node rendering, as in a browser
    ssr: { noExternal: true },
    build: {
      emptyOutDir: true,
      minify: false,
      chunkSizeWarningLimit: 4000,
      rolldownOptions: {
        input: Object.fromEntries(names.map((name) => [name.replace(/\..*/, ""), `${folder}/${name}`])),
      },
    },
  }
})
