/** The client's token, and when to send the next one. */
import { connectionLost, invalid, LumenizeError } from "./errors.js"
import type { Credentials } from "./types.js"

/**
 * The current token, if any. Rejects with `CONNECTION_LOST` if the token function fails, or does not answer within
 * `patience` milliseconds; with `INVALID_REQUEST` if the token is not a string.
 */
export async function present({ token }: Credentials, patience: number): Promise<string | undefined> {
  let said: unknown = token
  if (typeof token === "function") {
    let timer: ReturnType<typeof setTimeout> | undefined
    try {
      said = await new Promise<unknown>((resolve, reject) => {
        timer = setTimeout(() => reject(connectionLost(`no token: the token function gave none within ${patience} ms`)), patience)
        Promise.resolve(token()).then(resolve, reject)
      })
    } catch (error) {
      throw error instanceof LumenizeError ? error : connectionLost(`no token: ${String(error)}`)
    } finally {
      clearTimeout(timer)
    }
  }
  if (said != null && typeof said !== "string") throw invalid("a token must be a string") // without it: it may be secret
  return said ?? undefined
}

const EARLY = 30_000
const MOST = 2 ** 31 - 1 // longest delay of a timer

/** Milliseconds until the next token should be sent; `null`: never. `now` is in milliseconds since the epoch. */
export function renewIn(token: string | undefined, now: number): number | null {
  try {
    const claims = token?.split(".")[1]?.replaceAll("-", "+").replaceAll("_", "/")
    const { exp } = JSON.parse(atob(claims ?? "")) as { exp?: unknown }
    if (typeof exp !== "number") return null
    const left = Math.max(exp * 1000 - now, 0)
    return Math.min(Math.max(left - EARLY, left / 2, 1000), MOST)
  } catch {
    return null // not a JSON web token
  }
}
