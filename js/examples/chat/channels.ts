/** What is talked about, and what is said. */
export const CHANNELS = [
  { id: "general", about: "For everybody" },
  { id: "herons", about: "What was seen on the east bank" },
  { id: "ferry-house", about: "Repairs, keys, the kettle" },
] as const

export type ChannelId = (typeof CHANNELS)[number]["id"]

export interface Message {
  channel: string
  text: string
  author: { name: string; color: string }
}

/** The channel that the page's address names. */
export function fromAddress(): ChannelId {
  return CHANNELS.find(({ id }) => id === location.hash.slice(1))?.id ?? CHANNELS[0].id
}

/** Milliseconds after which somebody of whom nothing was heard is not typing any more. */
export const STOPPED = 3000

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" })

export function time(at: string | undefined): string {
  return at === undefined ? "" : clock.format(new Date(at))
}
