"""What to log of a webhook that fails, often or all the time: little. Pure; time is an argument, in seconds."""

from __future__ import annotations

_AGAIN_SECONDS = 60.0


class FailureLog:
    """Gives the lines to log for one webhook: failures and dead letters at most once a minute each, with a count.

    Recovery is told if the failure was.
    """

    __slots__ = ("_dead", "_failures", "_name", "_told")

    def __init__(self, name: str) -> None:
        self._name = name
        self._failures = _Limit()
        self._dead = _Limit()
        self._told = False

    def failed(self, reason: str, now: float) -> str | None:
        """An attempt failed. ``reason`` contains no secret."""
        more = self._failures.passes(now)
        if more is None:
            return None
        self._told = True
        return f"webhook {self._name} fails and will be retried: {reason}{_since(more)}"

    def taken(self) -> str | None:
        """The receiver accepted an event."""
        if not self._told:
            return None
        self._told = False
        return f"webhook {self._name} works again"

    def gave_up(self, event: str, reason: str, now: float) -> str | None:
        """An event became a dead letter."""
        more = self._dead.passes(now)
        if more is None:
            return None
        self._told = True
        return f"webhook {self._name} gave up {event}: {reason}{_since(more)}"


class _Limit:
    """Lets something pass once a minute, and counts the rest."""

    __slots__ = ("_at", "_more")

    def __init__(self) -> None:
        self._at: float | None = None
        self._more = 0

    def passes(self, now: float) -> int | None:
        """How many did not pass since the last one that did; ``None``: nor does this one."""
        if self._at is not None and now < self._at + _AGAIN_SECONDS:
            self._more += 1
            return None
        more, self._at, self._more = self._more, now, 0
        return more


def _since(more: int) -> str:
    return f" ({more} more since the last time)" if more else ""
