"""When a room may relay next: at once after a quiet time, otherwise no more often than the CPU allows."""

from __future__ import annotations

from collections.abc import Iterator

from collab.gate.limits import StepLimit

FEW = 8
"""Readers. To fewer ones a room relays more often, in proportion."""


class Pacer:
    """Spaces flushes so that they take at most ``share`` of a core.

    The interval after a flush is its cost divided by ``share``, clamped to ``shortest`` and ``longest`` (seconds). With
    few readers ``shortest`` is shorter: two people seldom type at the same moment, so waiting would merge nothing. The
    caller passes the time, from any monotonic clock.
    """

    __slots__ = ("_free_at", "longest", "share", "shortest")

    def __init__(self, shortest: float, longest: float, share: float = 0.25) -> None:
        self.shortest = shortest
        self.longest = longest
        self.share = share
        self._free_at = 0.0

    def due(self, now: float) -> float:
        """When a message that is pending at ``now`` may leave; ``now`` after a quiet time."""
        return max(now, self._free_at)

    def flushed(self, now: float, cost: float, readers: int = FEW) -> None:
        """Record a flush at ``now`` to ``readers`` that cost ``cost`` seconds of CPU."""
        shortest = self.shortest if readers >= FEW else self.shortest * readers / FEW
        self._free_at = now + min(self.longest, max(shortest, cost / self.share))


class Alarm:
    """The next time at which somebody is to be woken, of all the timers that run."""

    __slots__ = ("_due",)

    def __init__(self) -> None:
        self._due: float | None = None

    def is_sooner(self, due: float) -> bool:
        """Ask for ``due``. Returns whether it needs a timer, because no other goes off as soon."""
        if self._due is not None and self._due <= due:
            return False
        self._due = due
        return True

    def due_at(self, now: float) -> float:
        """The time to act for when a timer goes off at ``now``. Whatever is not due then must be asked for again.

        A timer may be early: libuv rounds to milliseconds. To wait again for the rest would cost more than it saves.
        """
        due, self._due = self._due, None
        return due if due is not None and now < due <= now + _EARLY else now


class SendCost:
    """A running estimate of the CPU seconds that sending one message to one socket takes, shared by all rooms."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float = 20e-6) -> None:
        self.seconds = seconds

    def observe(self, seconds: float) -> None:
        """Learn from a send that did not wait. Long times are capped: other work caused them, not this send."""
        self.seconds += (min(seconds, 200e-6) - self.seconds) * 0.02


class Portion:
    """How many structs and deletions of an update to apply at once, so that it takes about ``seconds``.

    It depends on the document: in one of 100,000 blocks a single deletion may take 0.2 ms. A deletion may also split a
    list of as many values as the document has bytes, and the library copies those behind it. So there are fewer of
    those at once in a large document, whatever the parts before have taken.
    """

    __slots__ = ("parts", "seconds")

    def __init__(self, parts: int = 128, seconds: float = 0.002) -> None:
        self.parts = parts
        self.seconds = seconds

    def of(self, size: int, *, busy: bool) -> StepLimit:
        """The limit for the first piece, in a document of ``size`` bytes with the update: fewer parts if the sender has
        recently used more than their share (``busy``).

        The cost of a part in a document is unknown before the first piece, and a sender who opens one document after
        the other must not get a long first piece in each.
        """
        parts = min(self.parts, _PARTS_OF_BUSY) if busy else self.parts
        return StepLimit(parts, parts if parts * size < _SCANNED_BYTES else max(1, _SCANNED_BYTES // size))

    def sizes(self, size: int, *, busy: bool) -> Iterator[StepLimit]:
        """The limits of the pieces of a large edit: they grow up to what the document currently allows."""
        most, scans = self.of(size, busy=busy)
        while True:
            yield StepLimit(min(most, self.parts), scans)
            most *= _GROWTH

    def took(self, seconds: float, parts: int) -> None:
        """Learn from checking and applying ``parts`` structs and deletions in ``seconds``."""
        if seconds > 2 * self.seconds:
            self.parts = max(1, min(self.parts // 2, int(parts * self.seconds / seconds)))
        elif parts >= self.parts and seconds < self.seconds / 2:
            self.parts = min(_MOST_PARTS, self.parts * 2)


_EARLY = 0.001  # seconds
_PARTS_OF_BUSY, _MOST_PARTS = 16, 4096
_GROWTH = 4
_SCANNED_BYTES = 10_000_000
"""Bytes of a document times passes through it in one step: each takes up to 25 ns for each byte, so together 0.25 s."""
