"""Delays between attempts to connect. Pure; randomness is an argument."""

from __future__ import annotations

from collab.client.core.options import WebSocketOptions


def delay(options: WebSocketOptions, attempt: int, chance: float) -> float | None:
    """Seconds to wait before attempt ``attempt`` (from 1) to reconnect; ``None`` to give up.

    ``chance`` in 0 … 1 adds jitter: without it all clients of a failed server would reconnect at the same time.
    """
    limit = options.max_attempts if options.max_attempts is not None else options.max_reconnect_attempts
    if not options.auto_reconnect or (limit is not None and attempt > limit):
        return None
    first = options.initial_delay if options.initial_delay is not None else options.reconnect_interval
    if options.reconnect_strategy == "linear":
        wait = first * attempt
    else:
        # limit the exponent: the float would overflow long before a patient client gives up
        wait = first * options.backoff_factor ** min(attempt - 1, 64)
    return min(wait, options.max_delay) * (0.5 + 0.5 * chance) / 1000
