/** The page's snippets in Node: commands come in and answers go out as lines of JSON, and so do questions of ours. */
import { createInterface } from "node:readline"

import { sections } from "page:sections"
import { WebSocket } from "ws"

import { Runner } from "./runner"

interface Line {
  id: number
  command?: "run" | "end"
  heading: string
  number: number
  result?: unknown
  error?: string
}

const [, , page, server] = process.argv
// The page names no server. In a browser that is the page's own; outside, whoever has no `location` gets port 8000.
// Newer Nodes have a WebSocket; this one is what they are made like.
Object.assign(globalThis, { location: new URL(page as string), WebSocket, window: new EventTarget() })

const waiting = new Map<number, (line: Line) => void>()
const say = (line: object): void => void process.stdout.write(JSON.stringify(line) + "\n")
let asked = 0

const control = (command: string, ...parameters: unknown[]): Promise<unknown> =>
  new Promise((resolve, reject) => {
    const id = asked++
    waiting.set(id, ({ result, error }) => (error === undefined ? resolve(result) : reject(new Error(error))))
    say({ ask: id, command, parameters })
  })

const runner = new Runner(sections, control, server as string)

createInterface({ input: process.stdin }).on("line", (text) => {
  const line = JSON.parse(text) as Line
  const { id, command } = line
  if (command === undefined) {
    waiting.get(id)?.(line)
    waiting.delete(id)
    return
  }
  const done = command === "run" ? runner.run(line.heading, line.number) : runner.end()
  done.then(
    () => say({ id, result: null }),
    (error: Error) => say({ id, error: `${error.stack ?? error.message}${error.cause ? `\n${String(error.cause)}` : ""}` }),
  )
})
