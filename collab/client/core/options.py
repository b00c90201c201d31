"""Options of a client's connection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from collab.errors import InvalidRequest

_Time = Annotated[float, Meta(ge=0)]


class RateLimit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Lowers the server's limits for this session; ``None`` keeps the server's limit."""

    max_subscriptions: Annotated[int, Meta(ge=1)] | None = None
    max_events_per_second: Annotated[int, Meta(ge=1)] | None = None


class WebSocketOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of the connection. All times are milliseconds.

    ``initial_delay`` (alias ``reconnect_interval``) is the delay before the first attempt to reconnect. The delay
    before attempt *n* is *n* times it (``linear``), or it times ``backoff_factor`` to the power *n - 1*
    (``exponential``), at most ``max_delay``, and then a random value between half of that and all of it. After
    ``max_attempts`` (alias ``max_reconnect_attempts``; ``None``: unlimited) ``on_reconnect_failed`` is called.

    After ``heartbeat_interval`` of silence the client sends a ping; without an answer within ``heartbeat_timeout`` the
    link counts as dead. ``connect_timeout`` covers opening and hello together, ``request_timeout`` the answer to a
    request, including time without a connection. Writes have no timeout; at most ``max_queued_writes`` are queued.
    ``max_buffered`` values may wait for a slow callback or iterator.
    """

    auto_reconnect: bool = True
    reconnect_strategy: Literal["linear", "exponential"] = "exponential"
    reconnect_interval: _Time = 1000
    initial_delay: _Time | None = None
    max_delay: _Time = 30_000
    backoff_factor: Annotated[float, Meta(ge=1)] = 2
    max_reconnect_attempts: Annotated[int, Meta(ge=0)] | None = None
    max_attempts: Annotated[int, Meta(ge=0)] | None = None
    on_reconnect_failed: Callable[[], object] | None = None
    heartbeat_interval: Annotated[float, Meta(gt=0)] = 30_000
    heartbeat_timeout: Annotated[float, Meta(gt=0)] = 10_000
    connect_timeout: Annotated[float, Meta(gt=0)] = 10_000
    request_timeout: Annotated[float, Meta(gt=0)] = 30_000
    max_queued_writes: Annotated[int, Meta(ge=1)] = 1000
    max_buffered: Annotated[int, Meta(ge=1)] = 10_000
    subscription_rate_limit: RateLimit = RateLimit()
    compression: bool = False
    binary_protocol: bool = False


def read_options(given: WebSocketOptions | Mapping[str, Any] | None) -> WebSocketOptions:
    """Validate an application's options. Raises :class:`InvalidRequest` that names the problem."""
    if isinstance(given, WebSocketOptions):
        given = msgspec.structs.asdict(given)
    raw = dict(given or {})
    failed = raw.pop("on_reconnect_failed", None)
    if failed is not None and not callable(failed):
        raise InvalidRequest("websocket: on_reconnect_failed is not a function")
    limit = raw.get("subscription_rate_limit")
    if isinstance(limit, RateLimit):
        raw["subscription_rate_limit"] = msgspec.to_builtins(limit)
    try:
        options = msgspec.convert(raw, WebSocketOptions)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"websocket: {error}") from None
    return msgspec.structs.replace(options, on_reconnect_failed=failed)
