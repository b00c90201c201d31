"""The order in which callbacks are called. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class NoticeQueue:
    """Runs notices, each of which calls callbacks; those that a callback causes run after all earlier ones.

    So everybody is told the same things in the same order, whatever callbacks do. A notice must not raise.
    """

    __slots__ = ("_running", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], object]] = deque()
        self._running = False

    def tell(self, *notices: Callable[[], object]) -> None:
        """Run notices, now or after those that are running."""
        self._waiting.extend(notices)
        if self._running:
            return
        self._running = True
        try:
            while self._waiting:
                self._waiting.popleft()()
        finally:
            self._running = False
