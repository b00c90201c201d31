/** Codes of errors. `CONNECTION_LOST` is the client's own; the others are said by the server. */
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

/** An error as the protocol carries it. */
export interface WireError {
  code: string
  message: string
  details?: Record<string, unknown>
  retryable?: boolean
}

/** Everything that this library rejects with or passes to an error callback. `type` and `code` are the same. */
export class LumenizeError extends Error {
  override readonly name = "LumenizeError"
  readonly code: ErrorCode
  /** What the code is about: the invalid fields, the latest data of a conflict, when to retry. */
  readonly details: Record<string, unknown>
  /** Whether the same may succeed later. */
  readonly retryable: boolean

  constructor(code: ErrorCode, message: string, details: Record<string, unknown> = {}, retryable = false) {
    super(message)
    this.code = code
    this.details = details
    this.retryable = retryable
  }

  get type(): ErrorCode {
    return this.code
  }

  /** The error that a server's message tells. */
  static of(error: WireError): LumenizeError {
    return new LumenizeError(error.code as ErrorCode, error.message, error.details, error.retryable ?? false)
  }
}

/** The connection ended before the answer, or could not be made. */
export function connectionLost(message = "the connection was lost"): LumenizeError {
  return new LumenizeError("CONNECTION_LOST", message, {}, true)
}
