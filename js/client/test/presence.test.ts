import { expect, it } from "vitest"
import { PresenceRooms } from "../src/presence.js"
import type { Request } from "../src/protocol.js"
import { settle } from "./scripted.js"

function world() {
  const said: { request: Request; answer: () => void; refuse: (error: unknown) => void }[] = []
  const rooms = new PresenceRooms((request) => new Promise((answer, refuse) => said.push({ request, answer, refuse })))
  const states = () => said.map(({ request }) => ("state" in request ? request.state : request.type))
  return { rooms, said, states }
}

it("tells a state that moves as often as the server answers, and its last place always", async () => {
  const { rooms, said, states } = world()
  const told = [1, 2, 3].map((x) => rooms.update("d", { x }))
  void rooms.update("d", { typing: true })
  void rooms.update("other", { x: 9 })
  expect(states()).toEqual([{ x: 1 }, { x: 9 }])
  said[0]?.answer()
  await told[0]
  await settle()
  expect(states()).toEqual([{ x: 1 }, { x: 9 }, { x: 3, typing: true }])
  said[2]?.answer()
  await Promise.all(told)
  void rooms.update("d", { x: 4 })
  expect(states().at(-1)).toEqual({ x: 4 })
})

it("forgets what waited once the room is left or joined anew", async () => {
  const { rooms, said, states } = world()
  void rooms.update("d", { x: 1 })
  const waits = rooms.update("d", { x: 2 })
  const joined = rooms.join("d", { y: 1 })
  said[0]?.answer()
  await waits
  expect(states()).toEqual([{ x: 1 }, { y: 1 }])
  said[1]?.answer()
  await joined
  void rooms.update("d", { x: 3 })
  const late = rooms.update("d", { x: 4 })
  void rooms.leave("d")
  said[2]?.answer()
  await late
  expect(states().at(-1)).toBe("leavePresence")
  expect(rooms.states()).toEqual([])
})

it("goes on after an update that was refused", async () => {
  const { rooms, said, states } = world()
  const refused = rooms.update("d", { x: 1 })
  const next = rooms.update("d", { x: 2 })
  said[0]?.refuse(new Error("no"))
  await expect(refused).rejects.toThrow("no")
  await settle()
  expect(states()).toEqual([{ x: 1 }, { x: 2 }])
  said[1]?.answer()
  await next
})

it("begins each connection with what was said last, and not with what was refused", async () => {
  const { rooms, said } = world()
  const joined = rooms.join("d", { x: 1, y: 1 })
  void rooms.update("d", { x: 2 })
  expect(rooms.states()).toEqual([["d", { x: 2, y: 1 }]])
  said[0]?.refuse(new Error("no"))
  await expect(joined).rejects.toThrow("no")
  expect(rooms.states()).toEqual([])
  await expect(rooms.join("e", { x: NaN })).rejects.toMatchObject({ code: "INVALID_REQUEST" })
  expect(rooms.states()).toEqual([])
})

it("begins the next connection without an update that was refused, and with those around it", async () => {
  const { rooms, said } = world()
  const joined = rooms.join("d", { name: "Ada" })
  said[0]?.answer()
  await joined
  const good = rooms.update("d", { x: 1 })
  said[1]?.answer()
  await good
  const bad = rooms.update("d", { picture: "too large", x: 2 })
  const next = rooms.update("d", { typing: true })
  expect(rooms.states()).toEqual([["d", { name: "Ada", x: 2, picture: "too large", typing: true }]])
  said[2]?.refuse(new Error("no"))
  await expect(bad).rejects.toThrow("no")
  await settle()
  expect(rooms.states()).toEqual([["d", { name: "Ada", x: 1, typing: true }]])
  said[3]?.answer()
  await next
  expect(rooms.states()).toEqual([["d", { name: "Ada", x: 1, typing: true }]])
})

it("keeps a later join when an earlier one is refused", async () => {
  const { rooms, said } = world()
  const [bad, good] = [rooms.join("d", { picture: "too large" }), rooms.join("d", { name: "Ada" })]
  said[0]?.refuse(new Error("no"))
  said[1]?.answer()
  await expect(bad).rejects.toThrow("no")
  await good
  expect(rooms.states()).toEqual([["d", { name: "Ada" }]])
})
