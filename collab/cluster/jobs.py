"""The jobs of a node: work that one node of the cluster does. If that node is dead, another one takes the job.

Jobs are dealt out to the nodes that live, in turn. Each node computes this by itself, and what it finds is a wish: a
job that nobody does for some looks is anybody's, because not all nodes need to know of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence, Set

from collab.storage.base import StorageError
from collab.storage.nodes import Fenced, Nodes

log = logging.getLogger(__name__)

_CLAIM_SECONDS = 1.0
_RELEASE_SECONDS = 1.0
_STOP_SECONDS = 1.0
_PATIENCE = 3
"""Looks for which a job is left to the node that should have it."""


class ClusterJobs:
    """A :class:`collab.storage.jobs.JobHolder` for one of several nodes; :meth:`claim` must be running.

    All jobs that wait are claimed with one call, each ``seconds``. ``living`` returns the numbers of all nodes that
    live, this one too.
    """

    shared = True

    def __init__(
        self,
        nodes: Nodes,
        *,
        seconds: float = _CLAIM_SECONDS,
        living: Callable[[], Sequence[int]] = lambda: (),
    ) -> None:
        self._nodes = nodes
        self._seconds = seconds
        self._living = living
        self._lived: Sequence[int] = ()  # as of the last look
        self._looks: dict[str, int] = {}  # for which jobs have waited
        self._passed_on: set[str] = set()  # jobs whose work ends here, so that another node has them
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._wake = asyncio.Event()
        self._away = False  # whether the storage failed last time
        self._working: dict[str, asyncio.Task[None]] = {}
        self._stopped = False

    @property
    def held(self) -> Set[str]:
        """The jobs that this node does."""
        return self._working.keys()

    async def run(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Call ``work`` once this node has the job, and again if it passed the job on and got it back.

        Returns early after :meth:`stop`.
        """
        while True:
            try:
                await self._claimed(name)
                if self._stopped:
                    await self._release([name])
                    return
                self._working[name] = asyncio.create_task(_call(work))
                try:
                    await self._working[name]
                finally:
                    del self._working[name]
                    if not self._stopped:
                        await self._release([name])
                return
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                if self._stopped:
                    return
                if name not in self._passed_on:
                    raise
            finally:
                self._passed_on.discard(name)

    async def claim_alone(self, name: str) -> bool:
        """Claim what is done at once. Returns whether no other living node has. Raises :class:`StorageError`."""
        return name in await self._nodes.claim_jobs([name])

    async def stop(self) -> None:
        """End all work and let other nodes have the jobs; what is to be saved is saved before."""
        self._stopped = True
        self._wake.set()
        names, tasks = list(self._working), list(self._working.values())
        for waiting in [*self._waiting.values(), *tasks]:
            waiting.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_STOP_SECONDS)
            await self._release(names)

    async def _claimed(self, name: str) -> None:
        """Wait until this node has the job."""
        claimed = self._waiting[name] = asyncio.get_running_loop().create_future()
        if self._stopped:
            claimed.cancel()
        self._wake.set()
        try:
            await claimed
        finally:
            del self._waiting[name]

    async def claim(self) -> None:
        """Take jobs that nobody does, and pass on those of others, until cancelled or stopped."""
        while not self._stopped:
            self._deal()
            wanted = self._wanted()
            if wanted:
                try:
                    owned = await self._nodes.claim_jobs(wanted)
                except Fenced:
                    return  # this node is dead, and its process ends
                except StorageError as error:
                    if not self._away:
                        log.error("jobs wait for the storage: %s", error)
                    self._away = True
                else:
                    self._away = False
                    for name in owned:
                        claimed = self._waiting.get(name)
                        if claimed is not None and not claimed.done():
                            claimed.set_result(None)
            self._wake.clear()
            try:
                async with asyncio.timeout(self._seconds):
                    await self._wake.wait()
            except TimeoutError:
                self._looks = {name: self._looks.get(name, 0) + 1 for name in self._waiting}

    def _wanted(self) -> Sequence[str]:
        """The waiting jobs that are for this node, and those that others leave alone."""
        waiting = [name for name, claimed in self._waiting.items() if not claimed.done()]
        return [name for name in waiting if self._is_mine(name) or self._looks.get(name, 0) >= _PATIENCE]

    def _deal(self) -> None:
        """When nodes have come or gone, end the work on what is for another node now."""
        living = sorted(self._living())
        if living == self._lived:
            return
        self._lived = living
        for name, task in self._working.items():
            if not self._is_mine(name) and name not in self._passed_on:
                self._passed_on.add(name)
                task.cancel()

    def _is_mine(self, name: str) -> bool:
        if not self._lived:
            return True
        place = sorted({*self._waiting, *self._working}).index(name)
        return self._lived[place % len(self._lived)] == self._nodes.nid

    async def _release(self, names: Sequence[str]) -> None:
        """Let another node have jobs now; if this fails, one has them when this node has ended."""
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                await self._nodes.release_jobs(names)
        except Fenced:
            pass  # this node is dead, so its jobs are free
        except (StorageError, TimeoutError) as error:
            log.info("jobs were not given back: %s", error)


async def _call(work: Callable[[], Awaitable[None]]) -> None:
    await work()
