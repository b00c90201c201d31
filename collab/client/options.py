"""How a client keeps its connection, as an application says it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from collab.errors import InvalidRequest

_Time = Annotated[float, Meta(ge=0)]


class RateLimit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Lowers the server's limits for this session; ``None`` leaves one as it is."""

    max_subscriptions: Annotated[int, Meta(ge=1)] | None = None
    max_events_per_second: Annotated[int, Meta(ge=1)] | None = None


class WebSocketOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The connection's options. All times are milliseconds.

    ``initial_delay`` (``reconnect_interval`` is another name of it) is the wait before the first attempt to come
    back; the wait before attempt *n* is *n* times it (``linear``), or it times ``backoff_factor`` to the power
    *n - 1* (``exponential``), at most ``max_delay``, and then between half of that and all of it by chance.
    After ``max_attempts`` (``max_reconnect_attempts``; ``None``: no end) ``on_reconnect_failed`` is called.

    A link that was silent for ``heartbeat_interval`` is asked for a sign of life; without one within
    ``heartbeat_timeout`` it counts as dead. ``connect_timeout`` is what opening and greeting may take together,
    ``request_timeout`` what the answer to a request may, time without a connection included. Writes wait as long as
    it takes, ``max_queued_writes`` at most. ``max_buffered`` values may wait for a slow callback or iterator.
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
    """Options as an application gives them. Raises :class:`InvalidRequest` naming what is wrong."""
    if isinstance(given, WebSocketOptions):
        return given
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
