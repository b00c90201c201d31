"""The order in which callbacks are called. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

MOST_CAUSED = 100_000
"""Maximum number of notices that callbacks may cause while others run, if these cause each other."""
_DEEP = 16
"""Length of a chain of notices that cause each other from which on :data:`MOST_CAUSED` holds."""


class NoticeQueue:
    """Runs notices, each of which calls callbacks; those that a callback causes run after all earlier ones.

    So everybody is told the same things in the same order, whatever callbacks do. A notice must not raise.
    """

    __slots__ = ("_caused", "_depth", "_running", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, Callable[[], object]]] = deque()  # each with its depth
        self._running = False
        self._caused = 0  # number of notices that callbacks have caused in this run
        self._depth = 0  # 0 if nobody has caused the running notice, else one more than that of its cause

    def tell(self, *notices: Callable[[], object]) -> None:
        """Run notices, now or after those that are running.

        Raises :class:`RecursionError` in a callback that causes itself without end, and forgets what waits. However
        many notices there are, none is forgotten if what they cause ends.
        """
        depth = 0
        if self._running:
            depth = self._depth + 1
            self._caused += len(notices)
            if self._caused > MOST_CAUSED and depth > _DEEP:
                self._waiting.clear()
                raise RecursionError("callbacks cause each other without end")
        self._waiting.extend((depth, notice) for notice in notices)
        if not self._running:
            self._run()

    def _run(self) -> None:
        self._running, self._caused = True, 0
        try:
            while self._waiting:
                self._depth, notice = self._waiting.popleft()
                notice()
        finally:
            self._running = False
