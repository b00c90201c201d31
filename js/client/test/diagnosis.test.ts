import { createServer, type RequestListener, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { afterEach, expect, it } from "vitest"
import { diagnose } from "../src/diagnosis.js"
import { LumenizeClient, LumenizeError } from "../src/index.js"

const servers: Server[] = []
afterEach(() => servers.splice(0).forEach((server) => void server.close()))

/** Serve; the host and port. */
async function serve(answer: RequestListener): Promise<string> {
  const server = createServer(answer)
  servers.push(server)
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve))
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function nobody(): Promise<string> {
  const host = await serve(() => {})
  await new Promise((resolve) => servers.pop()?.close(resolve))
  return host
}

const isHealth = (url: string | undefined, below = ""): boolean => url === `${below}/healthz`

async function failure(host: string, path = ""): Promise<LumenizeError> {
  const client = new LumenizeClient({ url: `http://user:secret@${host}${path}?token=secret`, websocket: { maxAttempts: 0 } })
  client.onError(() => {})
  return client.connect().then(
    () => expect.fail("connected"),
    (error: LumenizeError) => error,
  )
}

it("says that nothing answers, and where", async () => {
  const host = await nobody()
  const { code, message } = await failure(host)
  expect(code).toBe("CONNECTION_LOST")
  expect(message).toBe(`no connection to ws://${host}/realtime: nothing answers at http://${host}`)
})

it("says that something else answers there", async () => {
  const host = await serve((_, response) => void response.writeHead(404).end("not here"))
  expect((await failure(host)).message).toContain(`http://${host} is not a Lumenize Collab server (http://${host}/healthz: 404)`)
  const page = await serve((_, response) => void response.end("<!doctype html>"))
  expect((await failure(page)).message).toContain("is not a Lumenize Collab server")
})

it("asks below the path at which the server is mounted", async () => {
  const host = await serve(({ url }, response) => void response.writeHead(isHealth(url, "/collab") ? 200 : 404).end("ok\n"))
  expect((await failure(host, "/collab")).message).toContain(`the server answers at http://${host}/collab, but opens no WebSocket`)
  expect((await failure(host, "/other")).message).toContain(`http://${host}/other is not a Lumenize Collab server`)
})

it("tells onError once while it goes on trying", async () => {
  const host = await nobody()
  const client = new LumenizeClient({ url: `http://${host}`, websocket: { initialDelay: 5, maxDelay: 5, maxAttempts: 5 } })
  const told: string[] = []
  client.onError(({ message }) => told.push(message))
  await expect(client.connect()).rejects.toThrow("nothing answers")
  const said = `no connection to ws://${host}/realtime: nothing answers at http://${host}`
  expect(told).toEqual([said, said]) // the first attempt, and the last
})

it("stops looking when somebody disconnects meanwhile", async () => {
  let asked = (): void => {}
  const looking = new Promise<void>((resolve) => (asked = resolve))
  const host = await serve(() => asked()) // never answers
  const client = new LumenizeClient({ url: `http://${host}`, websocket: { maxAttempts: 0, connectTimeout: 50 } })
  const told: LumenizeError[] = []
  client.onError((error) => told.push(error))
  const connecting = client.connect()
  await looking
  await client.disconnect()
  await expect(connecting).rejects.toThrow("disconnected")
  expect(told).toEqual([])
})

const ORIGIN = "https://app.example.com"

/** What a browser lets a page of another origin read: of these paths all, of others that something answers. */
function readable(answers: Record<string, string>) {
  return (url: string, { mode }: RequestInit): Promise<Response> => {
    const answer = answers[new URL(url).pathname]
    if (answer !== undefined) return Promise.resolve(new Response(answer))
    return mode === "no-cors" ? Promise.resolve(Response.error()) : Promise.reject(new TypeError("Failed to fetch"))
  }
}

it("tells a page that its origin is refused", async () => {
  const why = await diagnose("wss://collab.example.com/realtime", readable({ "/healthz": "ok\n" }), ORIGIN, 1000)
  expect(why).toBe(`the server refuses pages of ${ORIGIN}: add this origin to its allowed_origins`)
})

it("tells a page that something else answers, though it may not read what", async () => {
  const why = await diagnose("wss://collab.example.com/realtime", readable({}), ORIGIN, 1000)
  expect(why).toContain("https://collab.example.com is not a Lumenize Collab server")
})

it("tells a page of an allowed origin that no WebSocket comes through", async () => {
  const answers = { "/healthz": "ok\n", "/api/v1/": "{}" }
  expect(await diagnose("wss://collab.example.com/realtime", readable(answers), ORIGIN, 1000)).toContain("opens no WebSocket")
})

it("does not wait for the end of an answer that has none", async () => {
  const host = await serve((_, response) => void response.writeHead(200).write("ok"))
  const why = await diagnose(`ws://${host}/realtime`, fetch, undefined, 200)
  expect(why).toContain(`http://${host} is not a Lumenize Collab server`)
  servers.at(-1)?.closeAllConnections()
})
