"""Tasks that no caller waits for, on asyncio and on trio."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from anyio import Event

log = logging.getLogger(__name__)


class Background:
    """Starts tasks. A client may be connected in one task and disconnected in another, so no task group owns them."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Callable[[], Awaitable[None]]) -> None:
        """Start ``work``, whose exceptions are logged."""

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
        """Call what an application gave; if that is async, it runs on its own. Its exceptions are logged."""
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
    """Wakes everybody who waits."""

    def __init__(self) -> None:
        self.event = Event()

    def set(self) -> None:
        """Something has changed."""
        event, self.event = self.event, Event()
        event.set()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until ``condition``, which is looked at whenever something has changed."""
        while True:
            event = self.event
            if condition():
                return
            await event.wait()
