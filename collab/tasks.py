"""Tasks that no caller waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator


class BackgroundTasks:
    """Keeps tasks until they end, because the event loop refers to them only weakly.

    ``failed`` is called with the exception of a task that raised one.
    """

    __slots__ = ("_failed", "_tasks")

    def __init__(self, failed: Callable[[BaseException], object]) -> None:
        self._failed = failed
        self._tasks: set[asyncio.Task[None]] = set()

    def __iter__(self) -> Iterator[asyncio.Task[None]]:
        """The running tasks."""
        return iter([task for task in self._tasks if not task.done()])

    def __len__(self) -> int:
        return sum(not task.done() for task in self._tasks)

    def spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Run a coroutine."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def cancel(self) -> None:
        """Cancel all tasks."""
        for task in self:
            task.cancel()

    async def wait(self) -> None:
        """Return once all tasks have ended."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)
