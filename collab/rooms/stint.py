"""Long work on the event loop, in stretches with breaks for others."""

from __future__ import annotations

import asyncio
from time import thread_time

from collab.access.price import is_busy, rest_after

_SECONDS = 0.005


class Stint:
    """Work of one task, in stretches of ``seconds`` of CPU, with breaks as :func:`rest_after` gives them.

    A request takes several turns of the loop. Without such breaks, it would wait for a stretch in each turn.
    """

    def __init__(self, seconds: float = _SECONDS) -> None:
        self._seconds = seconds
        self._began = thread_time()

    async def pause_if_due(self) -> float:
        """Pause once ``seconds`` of CPU are spent. Returns the seconds spent, 0 if it is not time to pause."""
        if thread_time() - self._began < self._seconds:
            return 0.0
        spent = self.spent()
        await asyncio.sleep(rest_after(spent, busy=is_busy()))
        self._began = thread_time()
        return spent

    def spent(self) -> float:
        """CPU seconds since the last call or pause."""
        now = thread_time()
        spent, self._began = now - self._began, now
        return spent
