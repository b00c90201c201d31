"""Which connections send in which turn of the event loop.

A room of a thousand people has something for each of their sockets at the same moment, and each write to a socket takes
the kernel tens of microseconds. If all of them were sent in one turn, everybody else would wait: what arrives meanwhile
is read in the next one.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

log = logging.getLogger(__name__)

AT_ONCE = 32
"""Connections that send in one turn, out of many that ask at once."""


class SendTurns:
    """Lets connections send at the end of the turn in which they ask for it.

    If many ask in one turn, the rest of them sends in the next turns. Who asks later does not wait for that rest.
    """

    __slots__ = ("_asked", "_rest", "_scheduled")

    def __init__(self) -> None:
        self._asked: list[Callable[[], None]] = []
        self._rest: deque[Callable[[], None]] = deque()
        self._scheduled = False

    def ask(self, send: Callable[[], None]) -> None:
        """Have ``send`` called soon."""
        self._asked.append(send)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._take_turn)

    def _take_turn(self) -> None:
        turn, self._asked = self._asked, []
        if self._rest or len(turn) > AT_ONCE:
            turn = self._portion(turn)
        self._scheduled = bool(self._rest)
        if self._scheduled:
            asyncio.get_running_loop().call_soon(self._take_turn)
        for send in turn:
            try:
                send()
            except Exception:
                log.exception("a connection could not send")

    def _portion(self, asked: list[Callable[[], None]]) -> list[Callable[[], None]]:
        """The first of those who asked in this turn, and of the rest from before."""
        rest = self._rest
        portion = asked[:AT_ONCE]
        portion += [rest.popleft() for _ in range(min(len(rest), AT_ONCE))]
        rest += asked[AT_ONCE:]
        return portion
