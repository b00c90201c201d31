/** Whose state is kept where. Pure. */
import type { Credentials } from "../types.js"

/** What a credential says of its holder before the server has answered. */
export interface Claimed {
  url: string
  projectId?: string | undefined
  apiKey?: string | undefined
  userId?: string | undefined
  token?: string | undefined
}

/** The name of a space: one for each user of each project of each server. */
export function spaceOf(url: string, project: string, user: string | null): string {
  return JSON.stringify([url, project, user])
}

/** Whether a space is one of this server, and of this user if one is given. */
export function isOf(space: string, url: string, user?: string): boolean {
  const [server, , holder] = JSON.parse(space) as unknown[]
  return server === url && (user === undefined || holder === user)
}

/**
 * Under which the server's answer to these credentials is remembered: who it took their holder for. The option `userId`
 * counts, or else the subject of the token (unverified: it decides only what this browser shows of what it keeps).
 * Credentials are kept as hashes.
 */
export function claimOf({ url, projectId, apiKey, userId, token }: Claimed): string {
  const who = userId !== undefined ? ["user", userId] : token === undefined ? ["nobody"] : (subject(token) ?? ["token", hash(token)])
  return JSON.stringify([url, projectId ?? null, apiKey === undefined ? null : hash(apiKey), ...who])
}

/** Whether credentials name another holder than before. A token function names the same one, as for the connection. */
export function isOther(one: Credentials, other: Credentials): boolean {
  const [token, next] = [one.token, other.token]
  if (one.userId !== other.userId) return true
  if (one.userId !== undefined || token === next) return false
  if (typeof token === "function" || typeof next === "function") return typeof token !== typeof next
  return claimOf({ url: "", token }) !== claimOf({ url: "", token: next })
}

function subject(token: string): string[] | null {
  try {
    const claims = token.split(".")[1] ?? ""
    const { iss, sub } = JSON.parse(atob(claims.replaceAll("-", "+").replaceAll("_", "/"))) as Record<string, unknown>
    return typeof sub === "string" ? ["subject", String(iss), sub] : null
  } catch {
    return null // not a JSON web token
  }
}

/** 53 bits, so that a credential cannot be read from it (cyrb53, public domain). */
function hash(text: string): string {
  let [a, b] = [0xdeadbeef, 0x41c6ce57]
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    a = Math.imul(a ^ code, 2654435761)
    b = Math.imul(b ^ code, 1597334677)
  }
  a = Math.imul(a ^ (a >>> 16), 2246822507) ^ Math.imul(b ^ (b >>> 13), 3266489909)
  b = Math.imul(b ^ (b >>> 16), 2246822507) ^ Math.imul(a ^ (a >>> 13), 3266489909)
  return (4294967296 * (2097151 & b) + (a >>> 0)).toString(36)
}
