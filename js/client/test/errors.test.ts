import { expect, it } from "vitest"
import { asEnd, closedWith, connectionLost, LumenizeError, type WireError } from "../src/errors.js"
import { vectors } from "./vectors.js"

it.each(vectors<{ error: WireError; closeCode: number; retryable: boolean }>("errors"))(
  "reads an error as the server means it: $closeCode $error.code",
  ({ error, closeCode, retryable }) => {
    const read = LumenizeError.of(error)
    expect([read.code, read.type, read.retryable, read.message]).toEqual([error.code, error.code, retryable, error.message])
    expect(closedWith(closeCode, "").retryable).toBe(retryable)
  },
)

it("takes whatever may pass for a lost connection, and says what it was", () => {
  const end = asEnd(LumenizeError.of({ code: "UNAVAILABLE", message: "restarting", retryable: true }))
  expect([end.code, end.message, end.details]).toEqual(["CONNECTION_LOST", "restarting", { cause: "UNAVAILABLE" }])
  expect(asEnd(connectionLost("lost")).details).toEqual({})
  expect(asEnd(closedWith(4401, "expired")).code).toBe("AUTHENTICATION_FAILED")
  expect(asEnd(closedWith(4529, "too much")).code).toBe("RATE_LIMIT_EXCEEDED")
})
