"""Work that one process of a record does at a time. A process that has the record to itself does all of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol


class JobHolder(Protocol):
    """Runs jobs as one process of all those that write to the record."""

    @property
    def shared(self) -> bool:
        """Whether other processes may do these jobs, too: then somebody else's unfinished work is ours, later."""

    async def run(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Call ``work`` once this process has the job ``name``. It keeps the job until ``work`` ends, or it is dead.

        Until another process notices that it is dead, both may work: what they write is fenced, what they send is not.
        """


async def unshared(name: str) -> bool:
    """Claim what is done at once, for a process that has the record to itself."""
    return True


class AllJobs:
    """The jobs of a process that has the record to itself."""

    shared = False

    async def run(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Call ``work`` at once."""
        await work()
