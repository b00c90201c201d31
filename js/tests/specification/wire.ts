/** Listens in on all WebSockets of this program from now on. */
import { until } from "./expect"

export interface Tapped {
  socket: WebSocket
  sent: (string | Uint8Array)[]
  heard: (string | Uint8Array)[]
  closed: number | null
}

export class Wire {
  readonly sockets: Tapped[] = []

  constructor() {
    const { sockets } = this
    globalThis.WebSocket = class extends globalThis.WebSocket {
      private readonly tapped: Tapped

      constructor(url: string | URL, protocols?: string | string[]) {
        super(url, protocols)
        const tapped: Tapped = (this.tapped = { socket: this, sent: [], heard: [], closed: null })
        sockets.push(tapped)
        this.addEventListener("message", ({ data }: MessageEvent<string | ArrayBuffer>) => {
          tapped.heard.push(typeof data === "string" ? data : new Uint8Array(data))
        })
        this.addEventListener("close", ({ code }) => (tapped.closed = code))
      }

      override send(data: string | ArrayBufferLike | Blob | ArrayBufferView<ArrayBuffer>): void {
        this.tapped.sent.push(data as string | Uint8Array)
        super.send(data as string)
      }
    }
  }

  /** The newest socket. */
  get last(): Tapped {
    const last = this.sockets.at(-1)
    if (last === undefined) throw new Error("no WebSocket was opened")
    return last
  }

  /** Messages that were sent over the newest socket, as far as they are JSON. */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  sent(type: string): any[] {
    return messages(this.last.sent, type)
  }

  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  async hears(type: string): Promise<any> {
    return until(() => messages(this.last.heard, type)[0])
  }
}

// eslint-disable-next-line @typescript-eslint/no-explicit-any
function messages(frames: (string | Uint8Array)[], type: string): any[] {
  return frames
    .filter((frame) => typeof frame === "string")
    .map((frame) => JSON.parse(frame) as { type: string })
    .filter((message) => message.type === type)
}
