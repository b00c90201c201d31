"""Python handlers for entity events. Each processes one event at a time, however long it takes."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable

from collab.entities.feed import Feed
from collab.errors import CollabError
from collab.event import EntityEvent
from collab.storage.base import EntityStorage
from collab.tasks import BackgroundTasks

log = logging.getLogger(__name__)

EventHandler = Callable[[EntityEvent], Awaitable[None] | None]

_BATCH = 100
_RETRY_SECONDS = 1.0


class Handlers:
    """Each handler reads the record at its own pace, from the moment it was added. No event is skipped.

    An exception of a handler is logged, and the next event follows. Handlers do not receive events from before the
    server started; webhooks do, because they save their position.
    """

    def __init__(self, storage: EntityStorage, feed: Feed) -> None:
        self._storage = storage
        self._feed = feed
        self._tasks = BackgroundTasks(lambda error: log.error("a handler has stopped", exc_info=error))

    def add(self, project: str, collection: str | None, handler: EventHandler) -> Callable[[], None]:
        """Call ``handler`` with every event of a collection, or of all. Returns a function that removes it."""
        wake = asyncio.Event()
        unsubscribe = self._feed.subscribe(
            lambda owner, event: (
                wake.set() if owner == project and (collection is None or collection == event.collection) else None
            )
        )
        task = self._tasks.spawn(self._run(project, collection, handler, self._feed.position(project), wake))

        def close() -> None:
            unsubscribe()
            task.cancel()

        return close

    async def stop(self) -> None:
        """Cancel all handlers."""
        self._tasks.cancel()
        await self._tasks.wait()

    async def _run(
        self, project: str, collection: str | None, handler: EventHandler, position: int, wake: asyncio.Event
    ) -> None:
        away = False  # whether the storage failed last time
        while True:
            await wake.wait()
            wake.clear()
            while True:
                try:
                    events = await self._storage.events(project, position, limit=_BATCH, collection=collection)
                except CollabError as error:
                    if not away:
                        log.error("events could not be read: %s", error)
                    away = True
                    await asyncio.sleep(_RETRY_SECONDS)
                    continue
                away = False
                for event in events:
                    await _call(handler, event)
                    position = event.position
                if len(events) < _BATCH:
                    break


async def _call(handler: EventHandler, event: EntityEvent) -> None:
    try:
        result = handler(event)
        if inspect.isawaitable(result):
            await result
    except Exception:
        log.exception("a handler failed on %s/%s version %d", event.collection, event.id, event.version)
