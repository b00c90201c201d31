"""Python code that is called with entity events, one after the other, however long it takes."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable

from collab.entities.feed import Feed
from collab.errors import CollabError
from collab.event import EntityEvent
from collab.storage.base import Storage

log = logging.getLogger(__name__)

Handler = Callable[[EntityEvent], Awaitable[None] | None]

_BATCH = 100
_RETRY_SECONDS = 1.0


class Handlers:
    """Each handler reads the record at its own pace from the moment on at which it was added: none is skipped.

    What a handler raises is logged, and the next event follows. Events of before the start of the server are for
    webhooks, which remember how far they are.
    """

    def __init__(self, storage: Storage, feed: Feed) -> None:
        self._storage = storage
        self._feed = feed
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, project: str, collection: str | None, handler: Handler) -> Callable[[], None]:
        """Call ``handler`` with every event of a collection, or of all. Returns what ends that."""
        wake = asyncio.Event()
        unsubscribe = self._feed.subscribe(
            lambda owner, event: (
                wake.set() if owner == project and (collection is None or collection == event.collection) else None
            )
        )
        task = asyncio.create_task(self._run(project, collection, handler, self._feed.position, wake))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

        def close() -> None:
            unsubscribe()
            task.cancel()

        return close

    async def stop(self) -> None:
        """End all of them, in the middle of what they do."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(
        self, project: str, collection: str | None, handler: Handler, position: int, wake: asyncio.Event
    ) -> None:
        while True:
            await wake.wait()
            wake.clear()
            while True:
                try:
                    events = await self._storage.events(position, limit=_BATCH, project=project, collection=collection)
                except CollabError as error:
                    log.error("events could not be read: %s", error)
                    await asyncio.sleep(_RETRY_SECONDS)
                    continue
                for _, event in events:
                    await _call(handler, event)
                    position = event.position
                if len(events) < _BATCH:
                    break


async def _call(handler: Handler, event: EntityEvent) -> None:
    try:
        result = handler(event)
        if inspect.isawaitable(result):
            await result
    except Exception:
        log.exception("a handler failed on %s/%s version %d", event.collection, event.id, event.version)
