"""The jobs of a node: work that one node of the cluster does. If that node is dead, another one takes the job."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from collab.storage.base import StorageError
from collab.storage.nodes import Fenced, Nodes

log = logging.getLogger(__name__)

_CLAIM_SECONDS = 1.0
_RELEASE_SECONDS = 1.0


class ClusterJobs:
    """A :class:`collab.storage.jobs.JobHolder` for one of several nodes; :meth:`claim` must be running.

    All jobs that wait are claimed with one call, each ``seconds``.
    """

    shared = True

    def __init__(self, nodes: Nodes, *, seconds: float = _CLAIM_SECONDS) -> None:
        self._nodes = nodes
        self._seconds = seconds
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._wake = asyncio.Event()
        self._away = False  # whether the storage failed last time
        self.held: set[str] = set()
        """The jobs that this node has."""

    async def run(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Call ``work`` once this node has the job."""
        claimed = self._waiting[name] = asyncio.get_running_loop().create_future()
        self._wake.set()
        try:
            await claimed
        finally:
            del self._waiting[name]
        self.held.add(name)
        try:
            await work()
        finally:
            self.held.discard(name)
            await self._release(name)

    async def claim(self) -> None:
        """Take jobs that nobody does, until cancelled."""
        while True:
            waiting = [name for name, claimed in self._waiting.items() if not claimed.done()]
            if waiting:
                try:
                    owned = await self._nodes.claim_jobs(waiting)
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
                pass

    async def _release(self, name: str) -> None:
        """Let another node have a job now; if this fails, one has it when this node has ended."""
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                await self._nodes.release_jobs([name])
        except Fenced:
            pass  # this node is dead, so its jobs are free
        except (StorageError, TimeoutError) as error:
            log.info("the job %s was not given back: %s", name, error)
