/** Orders: their type, sample data, and sums for charts. */
import type { Entity, LumenizeClient } from "@lumenize/client"

export const STATES = ["pending", "paid", "shipped"] as const

export type State = (typeof STATES)[number]

export interface Fields {
  product: string
  customer: string
  total: number
  status: State
  /** RFC 3339. */
  placedAt: string
}

export type Order = Entity<Fields>
export type Shop = LumenizeClient<{ orders: Fields }>

const PRODUCTS: readonly [string, number][] = [
  ["Field guide", 24],
  ["Binoculars 8×42", 219],
  ["Rain cover", 18],
  ["Tripod", 89],
  ["Bird feeder", 32],
  ["Long lens, one week", 140],
  ["Notebook", 9],
]
const CUSTOMERS = ["Ada", "Alan", "Barbara", "Edsger", "Grace", "Hedy", "Katherine", "Margaret", "Radia", "Tim"]

const any = <T>(items: readonly T[]): T => items[Math.floor(Math.random() * items.length)] as T

export function invent(): Fields {
  const [product, price] = any(PRODUCTS)
  const total = price * (1 + Math.floor(Math.random() * 3))
  return { product, customer: any(CUSTOMERS), total, status: "pending", placedAt: new Date().toISOString() }
}

/** Sample orders of the last five hours, increasingly many. */
export function examples(now: number): (Fields & { id: string })[] {
  const count = 60
  return Array.from({ length: count }, (_, index) => {
    const age = 5 * 3600 * (1 - (index + 0.5) / count) ** 2 // seconds
    return {
      ...invent(),
      id: `example-${index + 1}`,
      status: age > 3600 ? "shipped" : age > 600 ? "paid" : "pending",
      placedAt: new Date(now - age * 1000).toISOString(),
    }
  })
}

/** One step of the simulated shop: a new order, and perhaps the next state of an older one. */
export function step(client: Shop, orders: readonly Order[], failed: (error: Error) => void): void {
  client.orders.create(invent()).catch(failed)
  const open = orders.filter(({ status }) => status !== "shipped")
  if (open.length === 0 || Math.random() > 0.8) return
  const { id, status } = any(open)
  client.orders.update(id, { status: status === "pending" ? "paid" : "shipped" }).catch(failed)
}

export interface Bar {
  from: number
  total: number
  count: number
}

/** Sales in each of the last `count` intervals of `seconds`, newest last. */
export function sales(orders: readonly Order[], now: number, seconds: number, count: number): Bar[] {
  const span = seconds * 1000
  const end = (Math.floor(now / span) + 1) * span
  const bars = Array.from({ length: count }, (_, index): Bar => ({ from: end - (count - index) * span, total: 0, count: 0 }))
  for (const { placedAt, total } of orders) {
    const bar = bars[count - Math.ceil((end - Date.parse(placedAt)) / span)]
    if (bar === undefined) continue
    bar.total += total
    bar.count += 1
  }
  return bars
}

const money = new Intl.NumberFormat("en", { style: "currency", currency: "EUR", maximumFractionDigits: 0 })
export const euros = (amount: number): string => money.format(amount)

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" })
export const time = (at: string | number): string => (at === "" ? "" : clock.format(new Date(at)))

/** A round number of at least `most`, for the end of an axis. */
export function roundUp(most: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(most, 1)))
  return [1, 2, 5, 10].map((each) => each * power).find((each) => each >= most) ?? most
}
