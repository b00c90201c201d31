import { defineConfig } from "vitest/config"

// the packages for Svelte and Vue without a browser: they are built first
export default defineConfig({ test: { include: ["*.test.ts"], testTimeout: 60_000 } })
