/** Whose state a page keeps, shows and erases when users change. */
import { expect, it, vi } from "vitest"
import { CORE } from "../src/core.js"
import type { Data } from "../src/index.js"
import type { DatabaseKeeper } from "../src/persist/keeper.js"
import { Store } from "../src/persist/store.js"
import { kept, name, Page, read } from "./pages-kept.js"
import { settle } from "./scripted.js"

const keeperOf = (page: Page): { store: { space: string } | null } => page.client[CORE].keeper as DatabaseKeeper as never
const secret = [{ id: "a", title: "secret" }]

it("shows no rows, and leaves no document open, of a user who has signed out or whom another follows", async () => {
  for (const leave of [(page: Page) => page.client.signOut(), (page: Page) => void page.client.connect({ userId: "bob" }).catch(() => {})]) {
    const page = await Page.open()
    const groups: unknown[] = []
    page.client.tasks.subscribeAggregate({}, (each) => groups.push(each.length))
    await page.greet(secret)
    await vi.waitFor(() => expect(groups).toEqual([1]))
    const open = await page.client.documents.open("d")
    page.client.tasks.update("a", { title: "mine" }).catch(() => {})
    await vi.waitFor(() => expect(page.rows).toEqual(["a: mine"]))
    await leave(page)
    await vi.waitFor(() => expect(page.rows).toEqual([]))
    expect(groups).toEqual([1, 0])
    expect([open.state, open.error?.code]).toEqual(["closed", "AUTHENTICATION_FAILED"])
    page.close()
  }
})

it("lets writes of a user wait who has got another token", async () => {
  const page = await Page.open({ userId: undefined, token: "one" })
  await page.greet()
  const renewed = page.client.authenticate({ token: "two" })
  await vi.waitFor(() => expect(page.socket.of("authenticate")).toHaveLength(1))
  page.socket.reply(page.socket.of("authenticate")[0]?.id as number)
  await renewed
  const refused = vi.fn()
  page.client.tasks.create({ id: "b", title: "mine" }).catch(refused)
  await page.cut()
  await page.greet()
  await vi.waitFor(() => expect(page.socket.of("create")).toHaveLength(1))
  expect(refused).not.toHaveBeenCalled()
  page.close()
  // the next page knows whose token that is
  const after = await Page.open({ userId: undefined, token: "two" })
  await vi.waitFor(() => expect(after.client.pending).toBe(1))
})

it("keeps what one user writes apart from another's, also if the first one's store opens late", async () => {
  const page = await Page.open({ userId: undefined, token: () => Promise.resolve("opaque") })
  const { open } = Store
  let release = (): void => {}
  vi.spyOn(Store, "open").mockImplementationOnce(async (...given) => {
    const store = await open.apply(Store, given)
    await new Promise<void>((resolve) => (release = resolve))
    return store
  })
  page.socket.welcome({}, "ada")
  await page.cut()
  await page.greet([], "bob")
  release()
  await settle()
  await vi.waitFor(() => expect(keeperOf(page).store?.space).toContain("bob"))
  page.client.tasks.create({ id: "b" }).catch(() => {})
  await kept("writes", 1)
  expect(await read("writes")).toEqual([expect.objectContaining({ space: expect.stringContaining("bob") })])
})

it("keeps nothing more of a user who signs out while the store opens", async () => {
  const before = await Page.open()
  await before.greet(secret)
  await kept("rows", 1)
  before.close()
  const page = new Page()
  const { open } = Store
  const releases: (() => void)[] = []
  vi.spyOn(Store, "open").mockImplementation(async (...given) => {
    const store = await open.apply(Store, given)
    await new Promise<void>((resolve) => releases.push(resolve))
    return store
  })
  page.client.connect().catch(() => {})
  await vi.waitFor(() => expect(releases.length).toBeGreaterThan(0))
  const done = page.client.signOut()
  await settle()
  for (const release of releases) release()
  await done
  await settle()
  expect(keeperOf(page).store).toBe(null)
  for (const store of ["claims", "writes", "items", "rows", "updates"]) expect(await read(store)).toEqual([])
})

it("says that it erased nothing if nobody knows whose session it was, and otherwise erases it", async () => {
  const before = await Page.open()
  await before.greet(secret)
  await kept("rows", 1)
  before.close()
  for (const token of ["unknown", () => Promise.reject(new Error("no network"))]) {
    const page = new Page({ userId: undefined, token })
    await expect(page.client.signOut()).rejects.toMatchObject({ code: "STORAGE_FAILED", details: { reason: "unknown" } })
    page.close()
  }
  const bob = new Page({ userId: "bob" })
  await bob.client.signOut()
  expect(await read("rows")).toHaveLength(1)
  // the server was never asked with this key, but the user is named
  const ada = new Page({ apiKey: "another" })
  await ada.client.signOut()
  expect([await read("rows"), await read("spaces")]).toEqual([[], []])
  const nobody = new Page({ userId: undefined })
  await nobody.client.signOut()
})

it("remembers a bounded number of tokens of a user", async () => {
  const page = await Page.open({ userId: undefined, token: "t" })
  await page.greet()
  await kept("claims", 1)
  for (let n = 0; n < 50; n++) (page.client[CORE].keeper as DatabaseKeeper).renewed({ token: `t${n}` }, `t${n}`)
  await settle()
  await vi.waitFor(async () => expect(await read("claims")).not.toHaveLength(1))
  await settle()
  const claims = (await read("claims")) as Data[]
  expect(claims.length).toBeLessThanOrEqual(20)
  page.close()
  const after = await Page.open({ userId: undefined, token: "t49" })
  await vi.waitFor(() => expect(after.rows).toEqual([]))
})

it("tells and says at sign-out that the code of `persist` could not be loaded, and tries again", async () => {
  vi.doMock("../src/persist/keeper.js", () => {
    throw new Error("no network")
  })
  const page = await Page.open()
  await page.greet(secret)
  expect(page.codes()).toEqual(["STORAGE_FAILED unavailable"])
  expect(page.rows).toEqual(["a: secret"])
  await expect(page.client.signOut()).rejects.toMatchObject({ code: "STORAGE_FAILED" })
  vi.doUnmock("../src/persist/keeper.js")
  await page.client.signOut()
  expect(name).not.toBe("")
})
