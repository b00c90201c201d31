"""Errors as a client meets them: from the words of the server, from close codes, from HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from collab import errors
from collab.errors import CollabError
from collab.wire import realtime

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


def rebuild(told: realtime.Error) -> CollabError:
    """The exception that the server raised, by its code. One of a newer server becomes an :class:`InternalError`."""
    kind = _BY_CODE.get(told.code)
    details = dict(told.details)
    if kind is None:
        kind, details["code"] = errors.InternalError, told.code
    return with_details(kind(told.message), details)


def with_details(error: CollabError, details: Mapping[str, Any]) -> CollabError:
    """``error`` with these details, whatever their names are."""
    error.details = dict(details)
    return error


def closed(code: int, reason: str) -> CollabError:
    """The end of a connection, from its close code."""
    kind = _BY_CLOSE.get(code)
    if kind is None:
        kind = errors.InvalidRequest if 4400 <= code < 4500 else errors.ConnectionLost
    return kind(reason or f"the server closed the connection ({code})")


def refused(status: int) -> CollabError:
    """A handshake that was answered with an HTTP status."""
    kind = _BY_STATUS.get(status, errors.ConnectionLost)
    return kind(f"the server answered the handshake with {status}")
