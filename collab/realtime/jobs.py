"""The work that a session has under way: so much at once, and in order where order matters."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass

from collab.errors import RateLimitExceeded

Work = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class _Job:
    work: Work
    lane: Hashable | None
    size: int
    finish: bool
    waits: int = 0
    """In how many lanes."""


class Jobs:
    """Runs at most ``at_once`` of them; ``waiting`` more, of ``waiting_bytes`` together, may wait.

    Those of one lane run one after the other, in the order in which they came. What comes ``after`` a lane begins when
    all that was in it then has ended. Work does not raise.
    """

    def __init__(self, at_once: int = 16, waiting: int = 1000, waiting_bytes: int = 16 * 1024 * 1024) -> None:
        self._at_once = at_once
        self._most = waiting
        self._most_bytes = waiting_bytes
        self._ready: deque[_Job] = deque()
        self._lanes: dict[Hashable, deque[_Job]] = {}  # busy ones, with what waits for its turn there
        self._running: dict[asyncio.Task[None], _Job] = {}
        self._waiting = 0
        self._bytes = 0
        self._paused = False

    def __len__(self) -> int:
        """How many run or wait."""
        return len(self._running) + self._waiting

    def add(
        self,
        work: Work,
        *,
        lane: Hashable | None = None,
        after: Hashable | None = None,
        size: int = 0,
        finish: bool = False,
        own: bool = False,
    ) -> None:
        """Run ``work`` when its time has come. ``finish``: once begun, let it end even after :meth:`stop`.

        Raises :class:`RateLimitExceeded` if too much waits already; not for ``own`` work, which no peer asks for.
        """
        full = self._waiting >= self._most or (self._waiting and self._bytes + size > self._most_bytes)
        if full and not own:
            raise RateLimitExceeded("too many requests are waiting")
        job = _Job(work, lane, size, finish)
        self._waiting += 1
        self._bytes += size
        for name in {lane, after} - {None}:
            queue = self._lanes.get(name)
            if queue is not None:
                queue.append(job)
                job.waits += 1
        if lane is not None:
            self._lanes.setdefault(lane, deque())
        if not job.waits:
            self._ready.append(job)
            self._start()

    def pause(self, paused: bool) -> None:
        """Begin nothing, or go on."""
        self._paused = paused
        self._start()

    def stop(self) -> None:
        """Forget what waits, and cancel what runs unless it is to finish."""
        self._ready.clear()
        self._lanes.clear()
        self._waiting = self._bytes = 0
        for task, job in list(self._running.items()):
            if not job.finish:
                task.cancel()

    def _start(self) -> None:
        while self._ready and len(self._running) < self._at_once and not self._paused:
            job = self._ready.popleft()
            self._waiting -= 1
            self._bytes -= job.size
            task = asyncio.ensure_future(job.work())
            self._running[task] = job
            task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Future[None]) -> None:
        assert isinstance(task, asyncio.Task)
        job = self._running.pop(task)
        if not task.cancelled():
            task.exception()
        self._pass(job.lane)
        self._start()

    def _pass(self, lane: Hashable | None) -> None:
        queue = self._lanes.get(lane)
        while queue:
            job = queue.popleft()
            job.waits -= 1
            if not job.waits:
                self._ready.append(job)
            if job.lane == lane:
                return  # its turn, from now on
        self._lanes.pop(lane, None)
