import { expect, it, vi } from "vitest"
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
  expect(await present({ token: () => Promise.resolve("t") }, 1000)).toBe("t")
  expect(await present({ token: "t" }, 1000)).toBe("t")
  expect(await present({}, 1000)).toBeUndefined()
})

it("takes a token that cannot be had for a lost connection", async () => {
  const failing = present({
    token: () => {
      throw new Error("offline")
    },
  }, 1000)
  await expect(failing).rejects.toMatchObject({ code: "CONNECTION_LOST", retryable: true })
})

it("waits for a token as long as it may, says so, and leaves no timer behind", async () => {
  vi.useFakeTimers()
  const late = expect(present({ token: () => new Promise(() => {}) }, 500)).rejects.toMatchObject({
    code: "CONNECTION_LOST",
    message: "no token: the token function gave none within 500 ms",
    retryable: true,
  })
  await vi.advanceTimersByTimeAsync(500)
  await late
  await present({ token: async () => "t" }, 500)
  expect(vi.getTimerCount()).toBe(0)
  vi.useRealTimers()
})

it("takes no token for none, and refuses what is no token", async () => {
  expect(await present({ token: () => null as never }, 500)).toBeUndefined()
  for (const token of [5, {}, true]) {
    await expect(present({ token: () => token as never }, 500)).rejects.toMatchObject({ code: "INVALID_REQUEST" })
    await expect(present({ token: token as never }, 500)).rejects.toMatchObject({ code: "INVALID_REQUEST" })
  }
})
