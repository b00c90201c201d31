"""Background tasks on asyncio and trio."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from anyio import Event

log = logging.getLogger(__name__)


class Background:
    """Starts tasks. The client may connect in one task and disconnect in another, so no task group can own them."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Callable[[], Awaitable[None]]) -> None:
        """Start ``work``. Its exceptions are logged."""

        async def guarded() -> None:
            try:
                await work()
            except Exception:
                log.exception("a task of the client failed")

        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            import trio

            trio.lowlevel.spawn_system_task(guarded)
            return
        task = loop.create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def call(self, callback: Callable[..., object], *values: Any) -> None:
        """Call an application's callback. If it is async, it runs in the background. Its exceptions are logged."""
        try:
            result = callback(*values)
        except Exception:
            log.exception("a callback failed")
            return
        if inspect.isawaitable(result):
            awaited = result

            async def wait() -> None:
                await awaited

            self.spawn(wait)


class Signal:
    """Wakes all waiters."""

    def __init__(self) -> None:
        self.event = Event()

    def set(self) -> None:
        """Wake all waiters."""
        event, self.event = self.event, Event()
        event.set()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until ``condition`` is true. It is checked after every :meth:`set`."""
        while True:
            event = self.event
            if condition():
                return
            await event.wait()
