"""Errors as a client sees them: from error messages, from close codes, from HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from collab import errors
from collab.errors import CollabError
from collab.wire.realtime import values as wire

_BY_CODE: Mapping[str, type[CollabError]] = {
    kind.code: kind
    for kind in (
        errors.InvalidRequest,
        errors.ValidationFailed,
        errors.NotFound,
        errors.Conflict,
        errors.SubscriptionFailed,
        errors.AuthenticationFailed,
        errors.PermissionDenied,
        errors.RateLimitExceeded,
        errors.Unavailable,
        errors.ConnectionLost,
        errors.InternalError,
    )
}
_BY_CLOSE: Mapping[int, type[CollabError]] = {
    kind.close_code: kind
    for kind in (
        errors.InvalidRequest,
        errors.AuthenticationFailed,
        errors.PermissionDenied,
        errors.NotFound,
        errors.SessionTimeout,
        errors.Conflict,
        errors.TooLarge,
        errors.Quarantined,
        errors.DocumentDamaged,
        errors.RateLimitExceeded,
        errors.Unavailable,
        errors.Restarting,
    )
}
_BY_STATUS: Mapping[int, type[CollabError]] = {
    400: errors.InvalidRequest,
    401: errors.AuthenticationFailed,
    403: errors.PermissionDenied,
    404: errors.NotFound,
    426: errors.InvalidRequest,
    429: errors.RateLimitExceeded,
    503: errors.Unavailable,
}


class Fault(errors.InternalError):
    """Another connection would not help, so this ends the client permanently."""

    @property
    def retryable(self) -> bool:
        """Always false."""
        return False


class Unreadable(Fault):
    """The server sent something unreadable. Resending would not help."""


def rebuild(told: wire.Error) -> CollabError:
    """Rebuild the server's exception from its code. An unknown code becomes an :class:`InternalError`."""
    kind = _BY_CODE.get(told.code)
    details = dict(told.details)
    if kind is None:
        kind, details["code"] = errors.InternalError, told.code
    return with_details(kind(told.message), details)


def with_details(error: CollabError, details: Mapping[str, Any]) -> CollabError:
    """Return ``error`` with these details, whatever their names."""
    error.details = dict(details)
    return error


def closed(code: int, reason: str) -> CollabError:
    """Build the error for a close code."""
    kind = _BY_CLOSE.get(code)
    if kind is None:
        kind = errors.InvalidRequest if 4400 <= code < 4500 else errors.ConnectionLost
    return kind(reason or f"the server closed the connection ({code})")


def denied(document: str, reason: str) -> CollabError:
    """Build the error of a document that the server closed or refused: ``reason`` begins with the error's code."""
    code, _, text = reason.partition(": ")
    kind = _BY_CODE.get(code)
    return errors.PermissionDenied(f"{document}: {reason}") if kind is None else kind(f"{document}: {text}")


def refused(status: int) -> CollabError:
    """Build the error of a handshake that failed with an HTTP status."""
    kind = _BY_STATUS.get(status, errors.ConnectionLost)
    return kind(f"the server refused the handshake with status {status}")
