import { afterEach, expect, it, vi } from "vitest"
import { guarded, Listeners } from "../src/listeners.js"

afterEach(() => vi.restoreAllMocks())

it("calls the others when one throws, and reports what it threw", () => {
  const reported = vi.spyOn(console, "error").mockImplementation(() => {})
  const heard: number[] = []
  const listeners = new Listeners<[number]>()
  listeners.add(() => {
    throw new Error("mine")
  })
  listeners.add((value) => heard.push(value))
  listeners.tell(1)
  expect(heard).toEqual([1])
  expect(reported).toHaveBeenCalledOnce()
})

it("reports what an asynchronous callback rejects with", async () => {
  const reported = vi.spyOn(console, "error").mockImplementation(() => {})
  guarded(() => Promise.reject(new Error("mine")))
  await Promise.resolve()
  await Promise.resolve()
  expect(reported).toHaveBeenCalledOnce()
})

it("counts one function that was added twice as two", () => {
  let calls = 0
  const listeners = new Listeners<[]>()
  const call = (): void => void (calls += 1)
  const remove = listeners.add(call)
  listeners.add(call)
  remove()
  listeners.tell()
  expect([calls, listeners.size]).toEqual([1, 1])
})
