import { defineConfig } from "vitest/config"

// the rules by which the page is read, on words of our own: they need no page
export default defineConfig({ test: { include: ["*.test.ts"], testTimeout: 60_000 } })
