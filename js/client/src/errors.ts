import { frozen } from "./frozen.js"

/** Error codes. `CONNECTION_LOST` and `STORAGE_FAILED` are the client's own; the others come from the server. */
export type ErrorCode =
  | "CONNECTION_LOST"
  | "AUTHENTICATION_FAILED"
  | "PERMISSION_DENIED"
  | "RATE_LIMIT_EXCEEDED"
  | "SUBSCRIPTION_FAILED"
  | "VALIDATION_FAILED"
  | "NOT_FOUND"
  | "CONFLICT"
  | "INVALID_REQUEST"
  | "UNAVAILABLE"
  | "INTERNAL_ERROR"
  | "STORAGE_FAILED"

/** An error in a message of the protocol. */
export interface WireError {
  code: string
  message: string
  details?: Record<string, unknown>
  retryable?: boolean
}

/**
 * Everything that this library rejects with or passes to an error callback. `type` and `code` are the same. Callers share
 * it, so its members are read-only, and `details` is frozen.
 */
export class LumenizeError extends Error {
  override readonly name = "LumenizeError"
  readonly code: ErrorCode
  /** Details of the error: the invalid fields, the latest data of a conflict, when to retry. */
  readonly details: Record<string, unknown>
  /** Whether a retry may succeed. */
  readonly retryable: boolean

  constructor(code: ErrorCode, message: string, details: Record<string, unknown> = {}, retryable = false) {
    super(message)
    this.code = code
    this.details = frozen(details)
    this.retryable = retryable
    // callbacks share it; the rest is writable, because tools add members
    for (const name of [...Object.keys(this), "message"]) Object.defineProperty(this, name, { writable: false })
  }

  get type(): ErrorCode {
    return this.code
  }

  /** The error of a server message. */
  static of(error: WireError): LumenizeError {
    return new LumenizeError(error.code as ErrorCode, error.message, error.details, error.retryable ?? false)
  }
}

/** An invalid argument; the message gives the reason. */
export function invalid(message: string, details: Record<string, unknown> = {}): LumenizeError {
  return new LumenizeError("INVALID_REQUEST", message, details)
}

/** There is no connection, or it ended before the answer. */
export function connectionLost(message: string, details: Record<string, unknown> = {}): LumenizeError {
  return new LumenizeError("CONNECTION_LOST", message, details, true)
}

/** Code of the client that is loaded later. Rejects with `CONNECTION_LOST`: the page's own server is away, too. */
export function loaded<M>(code: Promise<M>, what: string): Promise<M> {
  return code.catch((error) => {
    throw connectionLost(`the code for \`${what}\` could not be loaded: ${String(error)}`)
  })
}

const BY_CLOSE: Record<number, ErrorCode> = {
  4401: "AUTHENTICATION_FAILED",
  4403: "PERMISSION_DENIED",
  4404: "NOT_FOUND",
  4408: "AUTHENTICATION_FAILED",
  4409: "CONFLICT",
  4424: "INTERNAL_ERROR",
  4529: "RATE_LIMIT_EXCEEDED",
}

/** The error for a close code without a failure message. Codes 4400–4499 are permanent. */
export function closedWith(code: number, reason: string): LumenizeError {
  const permanent = code >= 4400 && code < 4500
  const said = BY_CLOSE[code] ?? (permanent ? "INVALID_REQUEST" : "CONNECTION_LOST")
  return new LumenizeError(said, reason || `the connection was closed (${code})`, {}, !permanent)
}

/** The refusal or the end of a subscription as the client's `onError` gets it. */
export function subscriptionFailed(error: LumenizeError, more: Record<string, unknown> = {}): LumenizeError {
  const { code, message, details } = error
  if (code === "SUBSCRIPTION_FAILED" || code === "RATE_LIMIT_EXCEEDED") return error
  return new LumenizeError("SUBSCRIPTION_FAILED", message, { ...details, ...more, cause: code })
}

/** The end of a connection as applications see it: temporary errors become `CONNECTION_LOST`. */
export function asEnd(error: LumenizeError): LumenizeError {
  if (!error.retryable || error.code === "CONNECTION_LOST" || error.code === "RATE_LIMIT_EXCEEDED") return error
  return connectionLost(error.message, { ...error.details, cause: error.code })
}
