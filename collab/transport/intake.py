"""New connections begin a few at a time, so that a crowd of them does not hold up those who work."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

_EACH = 8  # a handshake and what follows take about half a millisecond


class Intake:
    """Lets ``each`` connections begin in each turn of the event loop; further ones wait in order."""

    __slots__ = ("_each", "_left", "_loop", "_turning", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop, each: int = _EACH) -> None:
        self._loop = loop
        self._each = self._left = each
        self._waiting: deque[Callable[[], object]] = deque()
        self._turning = False

    def is_open(self) -> bool:
        """Whether a connection may begin now, which takes its place in this turn. Otherwise let it :meth:`wait`."""
        self._turn_later()
        if self._waiting or not self._left:
            return False
        self._left -= 1
        return True

    def wait(self, begin: Callable[[], object]) -> None:
        """Call ``begin`` when it is a connection's turn."""
        self._waiting.append(begin)
        self._turn_later()

    def _turn_later(self) -> None:
        if not self._turning:
            self._turning = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turning = False
        self._left = self._each
        while self._waiting and self._left:
            self._left -= 1
            self._waiting.popleft()()
        if self._waiting:
            self._turn_later()

    def __len__(self) -> int:
        return len(self._waiting)
