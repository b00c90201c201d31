"""The order in which callbacks are called. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

MOST_CAUSED = 100_000
"""Maximum number of notices that callbacks may cause while others run."""


class NoticeQueue:
    """Runs notices, each of which calls callbacks; those that a callback causes run after all earlier ones.

    So everybody is told the same things in the same order, whatever callbacks do. A notice must not raise.
    """

    __slots__ = ("_caused", "_running", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], object]] = deque()
        self._running = False
        self._caused = 0  # number of notices that callbacks have caused in this run

    def tell(self, *notices: Callable[[], object]) -> None:
        """Run notices, now or after those that are running.

        Raises :class:`RecursionError` in a callback that causes itself without end, and forgets what waits.
        """
        if self._running:
            self._caused += len(notices)
            if self._caused > MOST_CAUSED:
                self._waiting.clear()
                raise RecursionError("callbacks cause each other without end")
        self._waiting.extend(notices)
        if not self._running:
            self._run()

    def _run(self) -> None:
        self._running, self._caused = True, 0
        try:
            while self._waiting:
                self._waiting.popleft()()
        finally:
            self._running = False
