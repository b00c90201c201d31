"""When a room may relay next: at once after a quiet time, then no more often than relaying can be afforded."""

from __future__ import annotations


class Pacer:
    """Spaces flushes so that they take at most ``share`` of a core.

    The interval after a flush is its cost divided by ``share``, held between ``shortest`` and ``longest``
    (seconds). Time is the caller's: any clock that only rises.
    """

    __slots__ = ("_free_at", "longest", "share", "shortest")

    def __init__(self, shortest: float, longest: float, share: float = 0.25) -> None:
        self.shortest = shortest
        self.longest = longest
        self.share = share
        self._free_at = 0.0

    def due(self, now: float) -> float:
        """The earliest moment at which something that is pending ``now`` may leave; ``now`` itself if quiet."""
        return max(now, self._free_at)

    def flushed(self, now: float, cost: float) -> None:
        """Take note of a flush at ``now`` that cost ``cost`` seconds of CPU."""
        self._free_at = now + min(self.longest, max(self.shortest, cost / self.share))


class SendCost:
    """A running estimate of the CPU seconds that one message to one socket takes, shared by all rooms."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float = 20e-6) -> None:
        self.seconds = seconds

    def observe(self, seconds: float) -> None:
        """Learn from a send that did not wait. Long ones are cut: they held other work, not this send."""
        self.seconds += (min(seconds, 200e-6) - self.seconds) * 0.02
