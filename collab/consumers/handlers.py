"""Python handlers for entity events. Each processes one event at a time, however long it takes."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from collab.entities.feed import Feed
from collab.errors import CollabError
from collab.event import EntityEvent
from collab.storage.base import EntityStorage
from collab.tasks import BackgroundTasks

log = logging.getLogger(__name__)

MOST_RANGES = 10_000
"""Ranges of events that one handler has still to get."""

EventHandler = Callable[[EntityEvent], Awaitable[None] | None]

_BATCH = 100
_RETRY_SECONDS = 1.0


class Owed:
    """The events that a handler is still to get, as ranges of positions. Between two ranges are events of others.

    There are at most ``most`` ranges. After that the last one grows over events of others, which the handler then gets
    as well as one at their own node: it falls behind in bounded memory, and misses none.
    """

    def __init__(self, most: int = MOST_RANGES) -> None:
        self._ranges: deque[tuple[int, int]] = deque()
        self._most = most
        self.overlaps = False
        """Whether the handler may get events of others."""
        self._run = (0, 0)  # the newest positions without a gap

    def __len__(self) -> int:
        return len(self._ranges)

    def note(self, position: int, *, wanted: bool) -> None:
        """This process committed an event; ``wanted``: the handler is to get it."""
        first, last = self._run
        self._run = (first if position == last + 1 else position, position)
        if not wanted:
            return
        if self._ranges and self._ranges[-1][1] >= self._run[0]:
            self._ranges[-1] = (self._ranges[-1][0], position)
        elif len(self._ranges) >= self._most:
            self._ranges[-1] = (self._ranges[-1][0], position)
            self.overlaps = True
        else:
            self._ranges.append((position, position))

    def first(self) -> tuple[int, int]:
        """The first range."""
        return self._ranges[0]

    def done(self, position: int) -> None:
        """The handler has got everything up to a position."""
        while self._ranges and self._ranges[0][1] <= position:
            self._ranges.popleft()
        if self._ranges and self._ranges[0][0] <= position:
            self._ranges[0] = (position + 1, self._ranges[0][1])
        if not self._ranges:
            self.overlaps = False


class Handlers:
    """Each handler reads the record at its own pace, from the moment it was added. No event is skipped.

    An exception of a handler is logged, and the next event follows. Handlers do not receive events from before the
    server started; webhooks do, because they save their position. In a cluster, handlers receive the events that their
    own node committed: each event is handled by one node. Only a handler that is far behind (:data:`MOST_RANGES`) may
    get events of other nodes, too: its log says so.
    """

    def __init__(self, storage: EntityStorage, feed: Feed) -> None:
        self._storage = storage
        self._feed = feed
        self._tasks = BackgroundTasks(lambda error: log.error("a handler has stopped", exc_info=error))

    def add(self, project: str, collection: str | None, handler: EventHandler) -> Callable[[], None]:
        """Call ``handler`` with every event of a collection, or of all. Returns a function that removes it."""
        wake = asyncio.Event()
        owed = Owed()

        def note(owner: str, event: EntityEvent) -> None:
            if owner == project:
                kept_up = not owed.overlaps
                owed.note(event.position, wanted=collection is None or collection == event.collection)
                if kept_up and owed.overlaps:
                    log.error(
                        "a handler of %s/%s is so far behind that it will also get events that other nodes handle: %r",
                        project,
                        collection or "*",
                        handler,
                    )
                if owed:
                    wake.set()

        unsubscribe = self._feed.own.subscribe(note)
        task = self._tasks.spawn(self._run(project, collection, handler, owed, wake))

        def close() -> None:
            unsubscribe()
            task.cancel()

        return close

    async def stop(self) -> None:
        """Cancel all handlers."""
        self._tasks.cancel()
        await self._tasks.wait()

    async def _run(
        self, project: str, collection: str | None, handler: EventHandler, owed: Owed, wake: asyncio.Event
    ) -> None:
        away = False  # whether the storage failed last time
        while True:
            await wake.wait()
            wake.clear()
            while owed:
                first, last = owed.first()
                try:
                    found = await self._storage.events(project, first - 1, limit=_BATCH, collection=collection)
                except CollabError as error:
                    if not away:
                        log.error("events could not be read: %s", error)
                    away = True
                    await asyncio.sleep(_RETRY_SECONDS)
                    continue
                away = False
                events = [event for event in found if event.position <= last]
                for event in events:
                    await _call(handler, event)
                    owed.done(event.position)
                if len(found) < _BATCH or len(events) < len(found):
                    owed.done(last)


async def _call(handler: EventHandler, event: EntityEvent) -> None:
    try:
        result = handler(event)
        if inspect.isawaitable(result):
            await result
    except Exception:
        log.exception("a handler failed on %s/%s version %d", event.collection, event.id, event.version)
