import { expect, it } from "vitest"
import { isMessage, json, messagePack, type ClientMessage } from "../src/protocol.js"
import { vectors } from "./vectors.js"

interface Case {
  from: "client" | "server"
  json: string
  msgpack: string
}
const messages = vectors<Case>("messages")

it.each(messages.filter(({ from }) => from === "server"))("reads both forms of a message alike: $json", async (each) => {
  const packed = (await messagePack()).decode(Buffer.from(each.msgpack, "hex"))
  expect(packed).toEqual(json.decode(each.json))
})

it.each(messages.filter(({ from }) => from === "client"))("writes the bytes that Python writes: $json", async (each) => {
  const message = JSON.parse(each.json) as ClientMessage
  expect(JSON.parse(json.encode(message) as string)).toEqual(message)
  const frame = (await messagePack()).encode(message) as Uint8Array
  expect(Buffer.from(frame).toString("hex")).toBe(each.msgpack)
})

it("tells messages from documents by the first byte", async () => {
  const codec = await messagePack()
  expect(isMessage(codec.encode({ type: "ping" }))).toBe(true)
  expect(isMessage("{}")).toBe(true)
  expect(isMessage(new Uint8Array([11, 100]))).toBe(false)
})

it("writes dates as texts in both forms", async () => {
  const message = { type: "emit", id: 1, event: { at: new Date(0) } } as const
  const codec = await messagePack()
  expect(JSON.parse(json.encode(message) as string)).toMatchObject({ event: { at: "1970-01-01T00:00:00.000Z" } })
  expect(codec.decode(codec.encode(message) as Uint8Array)).toMatchObject({ event: { at: "1970-01-01T00:00:00.000Z" } })
})
