import { defineConfig } from "vitest/config"

// `integration` starts servers; it takes a minute, and needs the Python side of the checkout.
export default defineConfig({
  test: { include: ["test/**/*.test.ts", "integration/**/*.test.ts"], testTimeout: 60_000, hookTimeout: 60_000 },
})
