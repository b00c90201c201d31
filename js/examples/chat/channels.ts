/** What is talked about, and what is said. */
import type { Entity, Query } from "@lumenize/client"

import { colourOf } from "../shared/me"

export const CHANNELS = [
  { id: "general", about: "For everybody" },
  { id: "herons", about: "What was seen on the east bank" },
  { id: "ferry-house", about: "Repairs, keys, the kettle" },
] as const

export type ChannelId = (typeof CHANNELS)[number]["id"]

export interface Fields {
  channel: string
  text: string
  author: { name: string; color: string }
  /** By the author's clock: what one person says stays in its order, also where it had to wait for a connection. */
  sentAt: string
}

export type Message = Entity<Fields>

const example = (number: number, channel: ChannelId, name: string, text: string): Fields & { id: string } => ({
  id: `example-${number}`,
  channel,
  text,
  author: { name, color: colourOf(name) },
  sentAt: new Date(Date.now() - 60_000 * (20 - number)).toISOString(),
})

/** What was said before anybody came. */
export const examples = (): (Fields & { id: string })[] => [
  example(1, "herons", "Ada", "Forty-one on the east bank this morning, most of them fishing."),
  example(2, "herons", "Alan", "Two had rings. I have the numbers."),
  example(3, "ferry-house", "Grace", "The keys hang behind the blue door. The kettle works again!"),
  example(4, "general", "Grace", "Welcome! This is the chat of the people who count herons."),
  example(5, "general", "Ada", "Every channel is a live query over its messages, and so is the number of unread ones beside its name."),
  example(6, "general", "Alan", "Cut the network and write on: what you say waits here, marked, and is sent when it is back."),
]

/** The channel that the page's address names. */
export function fromAddress(): ChannelId {
  return CHANNELS.find(({ id }) => id === location.hash.slice(1))?.id ?? CHANNELS[0].id
}

/** How many messages are read at first, and again each time somebody scrolls to the oldest. */
export const PAGE = 50

export const newest = (channel: ChannelId, limit: number): Query => ({
  where: { channel },
  orderBy: { sentAt: "desc" },
  limit,
})

/** Milliseconds after which somebody of whom nothing was heard is not typing any more. */
export const STOPPED = 3000

const READ_KEY = "chat.read"

/** When each channel was last looked at in this window. */
export function readTimes(): Partial<Record<ChannelId, string>> {
  return JSON.parse(sessionStorage.getItem(READ_KEY) ?? "{}") as Partial<Record<ChannelId, string>>
}

export function keepReadTimes(times: Partial<Record<ChannelId, string>>): void {
  sessionStorage.setItem(READ_KEY, JSON.stringify(times))
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" })
const date = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" })

export const time = (message: Message): string => clock.format(new Date(message.sentAt))
export const day = (message: Message): string => date.format(new Date(message.sentAt))
