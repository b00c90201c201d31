"""The pending commits of a room, and callbacks for when none are pending."""

from __future__ import annotations

from collections.abc import Callable

from collab.rooms.live.faults import tell


class Commits:
    """Counts the updates of a room that are recorded and not committed; commits come in the order of recording.

    ``seq`` is the log row of the last committed update.
    """

    __slots__ = ("_calls", "pending", "seq")

    def __init__(self, seq: int) -> None:
        self.seq = seq
        self.pending = 0
        self._calls: list[Callable[[], None]] = []

    def recorded(self) -> None:
        """An update was recorded, and waits for its commit."""
        self.pending += 1

    def committed(self, seq: int | None) -> None:
        """The oldest pending update is committed, as log row ``seq``; ``None`` if it needs no row."""
        if seq is not None:
            self.seq = seq
        self.pending -= 1
        if not self.pending and self._calls:
            calls, self._calls = self._calls, []
            for call in calls:
                tell(call)

    def after(self, call: Callable[[], None]) -> None:
        """Call ``call`` once nothing is pending; at once if nothing is."""
        if self.pending:
            self._calls.append(call)
        else:
            call()
