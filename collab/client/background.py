"""Callbacks of the application, and background tasks, on asyncio and trio."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from anyio import Event

from collab.client.core.notices import NoticeQueue

log = logging.getLogger(__name__)


class Started:
    """What proceeds by itself, although it can be awaited. The client does not await it when a callback returns it."""


class Background:
    """Calls callbacks in order, and starts tasks.

    The client may connect in one task and disconnect in another, so no task group can own the tasks.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self.tell = NoticeQueue().tell

    def call(self, callback: Callable[..., object], *values: Any) -> None:
        """Call an application's callback. If it is async, it runs in the background. Its exceptions are logged."""
        if (work := called(callback, *values)) is not None:

            async def wait() -> None:
                await work

            self.spawn(wait)

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


def called(callback: Callable[..., object], *values: Any) -> Awaitable[Any] | None:
    """Call an application's callback; returns what has to be awaited. Its exceptions are logged."""
    try:
        result = callback(*values)
    except (Exception, asyncio.CancelledError):  # nothing is awaited here: the application raised it
        log.exception("a callback failed")
        return None
    return result if inspect.isawaitable(result) and not isinstance(result, Started) else None


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
