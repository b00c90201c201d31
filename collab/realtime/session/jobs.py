"""Requests that a session is processing: a limited number at once, and in order where order matters."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable
from dataclasses import dataclass

from collab.access.price import Meter
from collab.errors import RateLimitExceeded
from collab.sandbox.metered import metered

Work = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class _Job:
    work: Work
    lanes: tuple[Hashable, ...]
    size: int
    finish: bool
    waits: int = 0
    """Number of lanes it waits in."""


class Jobs:
    """Runs at most ``at_once`` jobs; at most ``waiting`` more may wait, with at most ``waiting_bytes`` together.

    Jobs of one lane run one after the other, in order; a job may be in several lanes. A job ``after`` a lane starts
    when all earlier jobs of that lane have finished. Jobs must not raise. Their CPU time is charged to ``meter``.
    """

    def __init__(
        self,
        at_once: int = 16,
        waiting: int = 1000,
        waiting_bytes: int = 16 * 1024 * 1024,
        meter: Meter | None = None,
    ) -> None:
        self._meter = meter
        self._at_once = at_once
        self._most = waiting
        self._most_bytes = waiting_bytes
        self._ready: deque[_Job] = deque()
        self._lanes: dict[Hashable, deque[_Job]] = {}  # busy lanes, with their waiting jobs
        self._running: dict[asyncio.Task[None], _Job] = {}
        self._waiting = 0
        self._bytes = 0
        self._paused = False

    def __len__(self) -> int:
        """Number of running and waiting jobs."""
        return len(self._running) + self._waiting

    def add(
        self,
        work: Work,
        *,
        lanes: Iterable[Hashable] = (),
        after: Hashable | None = None,
        size: int = 0,
        finish: bool = False,
        own: bool = False,
    ) -> None:
        """Run ``work`` when it is its turn. ``finish``: once started, let it finish even after :meth:`stop`.

        Raises :class:`RateLimitExceeded` if too much waits already; not for the server's ``own`` work.
        """
        full = self._waiting >= self._most or (self._waiting and self._bytes + size > self._most_bytes)
        if full and not own:
            raise RateLimitExceeded("too many requests are waiting")
        job = _Job(work, tuple(dict.fromkeys(lanes)), size, finish)
        self._waiting += 1
        self._bytes += size
        for name in dict.fromkeys((*job.lanes, after)):  # no lane is called None
            queue = self._lanes.get(name)
            if queue is not None:
                queue.append(job)
                job.waits += 1
        for name in job.lanes:
            self._lanes.setdefault(name, deque())
        if not job.waits:
            self._ready.append(job)
            self._start()

    def pause(self, paused: bool) -> None:
        """Stop or resume starting jobs."""
        self._paused = paused
        self._start()

    def stop(self) -> None:
        """Drop waiting jobs, and cancel running ones unless they must finish."""
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
            if self._meter is None:
                task = asyncio.ensure_future(job.work())
            else:
                task = asyncio.create_task(metered(job.work, self._meter))
            self._running[task] = job
            task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Future[None]) -> None:
        assert isinstance(task, asyncio.Task)
        job = self._running.pop(task)
        if not task.cancelled():
            task.exception()
        for lane in job.lanes:
            self._pass(lane)
        self._start()

    def _pass(self, lane: Hashable) -> None:
        queue = self._lanes.get(lane)
        while queue:
            job = queue.popleft()
            job.waits -= 1
            if not job.waits:
                self._ready.append(job)
            if lane in job.lanes:
                return  # this job holds the lane now
        self._lanes.pop(lane, None)
