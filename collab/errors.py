"""Every error that can reach a client, with what it tells the peer to do next.

    CollabError
    ├── InvalidRequest          4400   the bytes or arguments make no sense; do not repeat them
    │   ├── InvalidName         4404   not a document name
    │   └── ValidationFailed    4400   the data does not fit the schema of its collection
    ├── AuthenticationFailed    4401   credential missing, wrong or expired
    ├── PermissionDenied        4403   known, but not allowed
    ├── NotFound                4404   no such entity
    │   └── EntityDeleted       4410   it was deleted; it may be restored
    ├── SessionTimeout          4408   no credential within the deadline
    ├── ClientIdInUse           4409   another live session writes under this Yjs client id
    ├── Conflict                4409   compare-and-set was asked for, and somebody else has written since
    ├── SubscriptionFailed      4400   this subscription cannot be served
    ├── TooLarge                4413   over a size limit
    ├── Quarantined             4422   these bytes ended a worker before
    ├── DocumentDamaged         4424   what is stored does not match its checksum; an operator must look
    ├── RateLimitExceeded       4529   slow down, then come back
    ├── Unavailable             4503   storage or room cannot serve now; try again
    │   └── Restarting          1012   the server is going down; try again
    ├── ConnectionLost          1006   raised by clients: the connection ended, or could not be made
    └── InternalError           1011   our fault; try again

Close codes follow the convention of y-websocket 3 (``defaultShouldReconnect``): 4400-4499 is permanent,
everything else is worth another attempt. 4401, 4403 and 4408 are those of ``@hocuspocus/common``.
"""

from __future__ import annotations

from typing import Any, ClassVar


class CollabError(Exception):
    """Root of all errors that a peer may see.

    ``code`` is the word of the application protocol, ``close_code`` the WebSocket close code,
    ``http_status`` the status of the HTTP API.
    """

    code: ClassVar[str] = "INTERNAL_ERROR"
    close_code: ClassVar[int] = 1011
    http_status: ClassVar[int] = 500

    def __init__(self, message: str = "", **details: Any) -> None:
        super().__init__(message or type(self).__name__)
        self.message = message or type(self).__name__
        self.details = details

    @property
    def type(self) -> str:
        """The ``code``, as handlers of connection errors call it."""
        return self.code

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return not 4400 <= self.close_code < 4500


class InvalidRequest(CollabError):
    """The bytes or arguments make no sense."""

    code, close_code, http_status = "INVALID_REQUEST", 4400, 400


class InvalidName(InvalidRequest):
    """Not a document name."""

    close_code, http_status = 4404, 404


class ValidationFailed(InvalidRequest):
    """The data does not fit the schema of its collection. ``details["errors"]`` names each field and why."""

    code, close_code, http_status = "VALIDATION_FAILED", 4400, 422


class NotFound(CollabError):
    """There is no such entity, or this identity may not know of it."""

    code, close_code, http_status = "NOT_FOUND", 4404, 404


class EntityDeleted(NotFound):
    """The entity was deleted. Its history is kept, and it may be restored."""

    close_code, http_status = 4410, 410


class Conflict(CollabError):
    """A write with ``onConflict: "reject"`` met a newer one. ``details`` hold ``data``, ``version``, ``conflicts``."""

    code, close_code, http_status = "CONFLICT", 4409, 409


class SubscriptionFailed(CollabError):
    """A subscription cannot be served, or not any more."""

    code, close_code, http_status = "SUBSCRIPTION_FAILED", 4400, 400


class AuthenticationFailed(CollabError):
    """The credential is missing, wrong or expired."""

    code, close_code, http_status = "AUTHENTICATION_FAILED", 4401, 401


class PermissionDenied(CollabError):
    """The identity is known and may not do this."""

    code, close_code, http_status = "PERMISSION_DENIED", 4403, 403


class SessionTimeout(CollabError):
    """No credential arrived within the deadline."""

    code, close_code, http_status = "AUTHENTICATION_FAILED", 4408, 408


class ClientIdInUse(CollabError):
    """Another live session writes under this Yjs client id: two writers on one id diverge for ever."""

    code, close_code, http_status = "CONFLICT", 4409, 409


class TooLarge(CollabError):
    """Over a size limit that the server states in its settings."""

    code, close_code, http_status = "INVALID_REQUEST", 4413, 413


class Quarantined(CollabError):
    """These bytes ended a worker before; they are kept aside and not accepted again."""

    code, close_code, http_status = "INVALID_REQUEST", 4422, 422


class DocumentDamaged(CollabError):
    """What is stored of this document does not match its checksum. It is kept as it is, and not served."""

    close_code = 4424


class RateLimitExceeded(CollabError):
    """More requests than allowed; retry later."""

    code, close_code, http_status = "RATE_LIMIT_EXCEEDED", 4529, 429


class Unavailable(CollabError):
    """Storage or room cannot serve now."""

    code, close_code, http_status = "UNAVAILABLE", 4503, 503


class Restarting(Unavailable):
    """The server is going down; another one, or the next one, will serve."""

    close_code = 1012


class ConnectionLost(CollabError):
    """The connection ended before the answer, or could not be made. Raised by clients."""

    code, close_code, http_status = "CONNECTION_LOST", 1006, 503


class InternalError(CollabError):
    """Our fault."""
