/** Why no connection could be made. A WebSocket does not report it (code 1006); HTTP requests show more. */

type Fetch = (url: string, options: RequestInit) => Promise<Response>

/**
 * The likely reason why a WebSocket to `url` could not be opened, in words: nothing answers, another server answers, or
 * the server refuses this page. Never rejects.
 *
 * `fetch` follows the browser's CORS rules: all pages may read `/healthz`, but only pages of allowed origins may read
 * `/api/v1/`.
 */
export async function diagnose(url: string, fetch: Fetch, origin: string | undefined, patience: number): Promise<string> {
  const base = url.replace(/^ws/, "http").replace(/\/realtime$/, "")
  const ask = async (path: string, mode: RequestMode): Promise<{ status: number; text: string } | null> => {
    const ended = new AbortController()
    const timer = setTimeout(() => ended.abort(), patience)
    try {
      const answer = await fetch(base + path, { mode, credentials: "omit", cache: "no-store", signal: ended.signal })
      return { status: answer.status, text: await answer.text().catch(() => "") } // the body may never end
    } catch {
      return null
    } finally {
      clearTimeout(timer)
    }
  }
  const health = await ask("/healthz", "cors")
  if (health === null) {
    // an answer that this page may not read is still an answer
    if (origin === undefined || (await ask("/healthz", "no-cors")) === null) return `nothing answers at ${base}`
    return `${base} is not a Lumenize Collab server: check host, port and path of url`
  }
  if (health.status !== 200 || health.text.trim() !== "ok") {
    return `${base} is not a Lumenize Collab server (${base}/healthz: ${health.status}): check host, port and path of url`
  }
  if (origin !== undefined && (await ask("/api/v1/", "cors")) === null) {
    return `the server refuses pages of ${origin}: add this origin to its allowed_origins`
  }
  return `the server answers at ${base}, but opens no WebSocket: check that proxies forward WebSockets and the Host header`
}
