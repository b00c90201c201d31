/** Channels and messages. */
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
  /** By the author's clock: one person's messages keep their order, even if they had to wait for a connection. */
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

/** Sample messages for an empty channel. */
export const examples = (): (Fields & { id: string })[] => [
  example(1, "herons", "Ada", "Forty-one on the east bank this morning, most of them fishing."),
  example(2, "herons", "Alan", "Two had rings. I have the numbers."),
  example(3, "ferry-house", "Grace", "The keys hang behind the blue door. The kettle works again!"),
  example(4, "general", "Grace", "Welcome! This is the chat of the people who count herons."),
  example(5, "general", "Ada", "Every channel is a live query over its messages, and so is the number of unread ones beside its name."),
  example(6, "general", "Alan", "Cut the network and write on: what you say waits here, marked, and is sent when it is back."),
]

/** The channel in the page's URL. */
export function fromAddress(): ChannelId {
  return CHANNELS.find(({ id }) => id === location.hash.slice(1))?.id ?? CHANNELS[0].id
}

/** Number of messages to read at first, and again after each scroll to the oldest. */
export const PAGE = 50

export const newest = (channel: ChannelId, limit: number): Query<Fields> => ({
  where: { channel },
  orderBy: { sentAt: "desc" },
  limit,
})

/** Milliseconds without an event after which a person no longer counts as typing. */
export const STOPPED = 3000

const READ_KEY = "chat.read"

/** When each channel was last viewed in this window. */
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
