import { afterEach, expect, it, vi } from "vitest"
import { guarded, inTurn, Listeners } from "../src/listeners.js"

afterEach(() => vi.restoreAllMocks())

it("calls the others when one throws, and reports what it threw", () => {
  const reported = vi.spyOn(console, "error").mockImplementation(() => {})
  const heard: number[] = []
  const listeners = new Listeners<[number]>(inTurn())
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

it("calls the rest in the next turn if an exception cannot be reported", () => {
  vi.spyOn(console, "error").mockImplementation(() => {
    throw new Error("no console")
  })
  const heard: string[] = []
  const turn = inTurn()
  const fail = (): void => {
    throw new Error("mine")
  }
  expect(() => turn(fail, () => heard.push("rest"))).toThrow("no console")
  turn(() => heard.push("next"))
  expect(heard).toEqual(["rest", "next"])
})

it("counts one function that was added twice as two", () => {
  let calls = 0
  const listeners = new Listeners<[]>(inTurn())
  const call = (): void => void (calls += 1)
  const remove = listeners.add(call)
  listeners.add(call)
  remove()
  listeners.tell()
  expect([calls, listeners.size]).toEqual([1, 1])
})

it("tells everybody what came first before what a listener causes", () => {
  const listeners = new Listeners<[number]>(inTurn())
  const heard: string[] = []
  listeners.add((value) => {
    heard.push(`a${value}`)
    if (value === 1) listeners.tell(2)
  })
  listeners.add((value) => heard.push(`b${value}`))
  listeners.tell(1)
  expect(heard).toEqual(["a1", "b1", "a2", "b2"])
})

it("tells events of several kinds in the order in which they happened", () => {
  const turn = inTurn()
  const [come, gone] = [new Listeners<[]>(turn), new Listeners<[]>(turn)]
  const heard: string[] = []
  come.add(() => gone.tell())
  come.add(() => heard.push("come"))
  gone.add(() => heard.push("gone"))
  come.tell()
  expect(heard).toEqual(["come", "gone"])
})

it("calls neither a listener that another has just removed, nor one that another has just added", () => {
  const listeners = new Listeners<[]>(inTurn())
  const heard: string[] = []
  listeners.add(() => {
    heard.push("first")
    remove()
    listeners.add(() => heard.push("late"))
  })
  const remove = listeners.add(() => heard.push("removed"))
  listeners.add(() => heard.push("last"))
  listeners.tell()
  expect(heard).toEqual(["first", "last"])
})
