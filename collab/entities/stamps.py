"""The times of events. They are strictly increasing, so that entities sorted by time are in order of creation."""

from __future__ import annotations

from math import ceil

_MICROS = 1_000_000


class Stamps:
    """Gives each event its own time: the clock's, or a microsecond after the last one.

    So times keep increasing if the clock is set back, and after a restart they continue after the record's newest
    event.
    """

    def __init__(self) -> None:
        self._last = 0

    def resume(self, seconds: float) -> None:
        """Continue after this time."""
        self._last = max(self._last, round(seconds * _MICROS))

    def next(self, now: float) -> float:
        """The time of an event at ``now``: seconds since the epoch, in whole microseconds."""
        self._last = max(ceil(now * _MICROS), self._last + 1)
        return self._last / _MICROS
