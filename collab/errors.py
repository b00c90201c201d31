"""Every error that can reach a client, with its close code.

    CollabError
    ├── InvalidRequest          4400   malformed bytes or arguments; do not retry
    │   ├── InvalidName         4404   malformed document name
    │   ├── ValidationFailed    4400   the data does not fit the schema of its collection
    │   └── IdempotencyKeyReused 4400  this idempotency key was used for a different write
    ├── AuthenticationFailed    4401   credential missing, wrong, expired or revoked
    ├── PermissionDenied        4403   authenticated, but not allowed
    ├── NotFound                4404   no such entity
    │   └── EntityDeleted       4410   the entity was deleted; it may be restored
    ├── SessionTimeout          4408   no credential within the deadline
    ├── Conflict                4409   a compare-and-set write met a newer write
    ├── SubscriptionFailed      4400   this subscription cannot be served
    ├── TooLarge                4413   over a size limit
    ├── Quarantined             4422   these bytes crashed a worker before
    ├── DocumentDamaged         4424   stored data does not match its checksum; an operator must look
    ├── RateLimitExceeded       4529   over a rate limit; retry later
    ├── Unavailable             4503   storage or room is unavailable; retry
    │   ├── Restarting          1012   the server is shutting down; retry
    │   └── Elsewhere           4503   another node owns this room; retry
    ├── ConnectionLost          1006   raised by clients: the connection failed or ended
    └── InternalError           1011   server fault; retry

Close codes follow the convention of y-websocket 3 (``defaultShouldReconnect``): 4400-4499 is permanent, anything else
may be retried. 4401, 4403 and 4408 are those of ``@hocuspocus/common``.
"""

from __future__ import annotations

from typing import Any, ClassVar

LONGEST_MESSAGE = 2000
"""Maximum number of characters of an error's message, most of which may be quoted from a request."""


class CollabError(Exception):
    """Base class of all errors that a peer may see.

    ``code`` is the error code of the application protocol, ``close_code`` the WebSocket close code, ``http_status`` the
    status of the HTTP API. ``message`` is one line of at most :data:`LONGEST_MESSAGE` characters, whatever it quotes.
    """

    code: ClassVar[str] = "INTERNAL_ERROR"
    close_code: ClassVar[int] = 1011
    http_status: ClassVar[int] = 500

    def __init__(self, message: str = "", **details: Any) -> None:
        self.message = printable(shortened(message or type(self).__name__, LONGEST_MESSAGE))
        super().__init__(self.message)
        self.details = details

    @property
    def type(self) -> str:
        """``code`` under the name that handlers of connection errors read."""
        return self.code

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return not 4400 <= self.close_code < 4500


def printable(text: str) -> str:
    """Text that may come from a client as one line that can be printed and encoded: other characters are escaped."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else f"\\u{ord(one):04x}" for one in text)


def shortened(text: str, longest: int) -> str:
    """Text of at most ``longest`` characters: a longer one loses its middle, because messages end with advice."""
    if len(text) <= longest:
        return text
    end = longest // 10
    return f"{text[: longest - end - 1]}…{text[-end:]}"


class InvalidRequest(CollabError):
    """The bytes or arguments are malformed."""

    code, close_code, http_status = "INVALID_REQUEST", 4400, 400


class InvalidName(InvalidRequest):
    """The document name is malformed."""

    close_code, http_status = 4404, 404


class ValidationFailed(InvalidRequest):
    """The data does not fit the schema of its collection. ``details["errors"]`` gives the reason for each field."""

    code, close_code, http_status = "VALIDATION_FAILED", 4400, 422


class NotFound(CollabError):
    """No such entity, or this identity may not see it."""

    code, close_code, http_status = "NOT_FOUND", 4404, 404


class EntityDeleted(NotFound):
    """The entity was deleted. Its history is kept and it may be restored."""

    close_code, http_status = 4410, 410


class Conflict(CollabError):
    """A write with ``onConflict: "reject"`` met a newer one. ``details``: ``data``, ``version``, ``conflicts``."""

    code, close_code, http_status = "CONFLICT", 4409, 409


class SubscriptionFailed(CollabError):
    """The server cannot serve this subscription, or can no longer."""

    code, close_code, http_status = "SUBSCRIPTION_FAILED", 4400, 400


class IdempotencyKeyReused(InvalidRequest):
    """The caller used this idempotency key for a different write. Nothing was written."""

    http_status = 422


class AuthenticationFailed(CollabError):
    """The credential is missing, wrong, expired or revoked. ``reason`` says more, and goes to the server's log only."""

    reason = ""
    code, close_code, http_status = "AUTHENTICATION_FAILED", 4401, 401


class PermissionDenied(CollabError):
    """The identity is known but not allowed to do this."""

    code, close_code, http_status = "PERMISSION_DENIED", 4403, 403


class SessionTimeout(CollabError):
    """No credential arrived within the deadline."""

    code, close_code, http_status = "AUTHENTICATION_FAILED", 4408, 408


class TooLarge(CollabError):
    """Over a size limit of the server's settings."""

    code, close_code, http_status = "INVALID_REQUEST", 4413, 413


class Quarantined(CollabError):
    """These bytes crashed a worker before. The server keeps a copy and rejects them."""

    code, close_code, http_status = "INVALID_REQUEST", 4422, 422


class DocumentDamaged(CollabError):
    """The stored document does not match its checksum. It is kept unchanged and not served."""

    close_code = 4424


class RateLimitExceeded(CollabError):
    """Over a rate limit; retry later."""

    code, close_code, http_status = "RATE_LIMIT_EXCEEDED", 4529, 429


class Unavailable(CollabError):
    """Storage or room is unavailable; retry."""

    code, close_code, http_status = "UNAVAILABLE", 4503, 503


class Restarting(Unavailable):
    """The server is shutting down; retry, here or on another server."""

    close_code = 1012


class Elsewhere(Unavailable):
    """Another node owns this room; ``nid`` is its number. A node that cannot pass the request on tells its client."""

    def __init__(
        self, message: str = "another server has this document; retry", *, nid: int = 0, **details: Any
    ) -> None:
        super().__init__(message, **details)
        self.nid = nid


class ConnectionLost(CollabError):
    """The connection ended before the answer, or could not be opened. Raised by clients."""

    code, close_code, http_status = "CONNECTION_LOST", 1006, 503


class InternalError(CollabError):
    """A fault of the server."""
