import { expect, it } from "vitest"
import { present, renewIn } from "../src/credentials.js"

function token(claims: unknown): string {
  return `x.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.y`
}

it("shows the next token half a minute before the last one ends", () => {
  expect(renewIn(token({ exp: 1000 }), 900_000)).toBe(70_000)
})

it("takes half of a life that is shorter, and a second at least", () => {
  expect(renewIn(token({ exp: 1000 }), 980_000)).toBe(10_000)
  expect(renewIn(token({ exp: 1000 }), 2_000_000)).toBe(1000)
})

it("waits no longer than a timer can", () => {
  expect(renewIn(token({ exp: 1e10 }), 0)).toBe(2 ** 31 - 1)
})

it.each([undefined, "", "key", "a.b.c", token({}), token({ exp: "soon" })])("never renews %j", (each) => {
  expect(renewIn(each, 0)).toBeNull()
})

it("asks the application for the newest token", async () => {
  expect(await present({ token: () => Promise.resolve("t") })).toBe("t")
  expect(await present({ token: "t" })).toBe("t")
  expect(await present({})).toBeUndefined()
})

it("takes a token that cannot be had for a lost connection", async () => {
  const failing = present({
    token: () => {
      throw new Error("offline")
    },
  })
  await expect(failing).rejects.toMatchObject({ code: "CONNECTION_LOST", retryable: true })
})
