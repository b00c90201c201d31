/** The page's snippets in a browser: the test calls `page`, and gives `control`, and `server`. */
import { sections } from "page:sections"

import { Runner } from "./runner"
import type { Control } from "./stage"

declare global {
  interface Window {
    control: (command: string, parameters: unknown[]) => Promise<unknown>
    page: Runner
  }
}

const control: Control = (command, ...parameters) => window.control(command, parameters)
window.page = new Runner(sections, control, new URLSearchParams(location.search).get("server") as string)
