"""All live queries of a process: reads, shares and feeds them. What a query decides is in :mod:`.live_query`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from collab.entities.feed import Feed
from collab.errors import CollabError, InternalError, Restarting, Unavailable
from collab.event import EntityEvent
from collab.query.canonical import canonical
from collab.query.query import Query
from collab.realtime.live_query import MAX_ROWS, SPARE, LiveQuery
from collab.realtime.query_index import QueryIndex
from collab.storage.base import FoundRows
from collab.wire import realtime

log = logging.getLogger(__name__)

Find = Callable[[str, str, Query], Awaitable[FoundRows]]
"""Asks the storage: project, collection, query."""

_READS = 8  # at the same time; more would only wait in the storage, and be kept events for
_KEPT = 10_000  # events that arrive during one read; a slower one is begun again
_ATTEMPTS = 3


class Watcher(Protocol):
    """Is told of one live query. Rows and steps are shared with other watchers: they must not be changed."""

    def reset(self, rows: list[dict[str, Any]], versions: list[int]) -> None:
        """All rows, in order."""

    def steps(self, steps: Sequence[realtime.Step]) -> None:
        """What happened to the rows since."""

    def failed(self, error: CollabError) -> None:
        """The query has ended; nothing follows."""


class _Shared:
    """One query with all who watch it, or wait for its first rows."""

    __slots__ = ("ended", "failure", "key", "live", "ready", "task", "topic", "waiting", "watchers")

    def __init__(self, key: tuple[str, str, bytes], live: LiveQuery, topic: _Topic) -> None:
        self.key = key
        self.live = live
        self.topic = topic
        self.watchers: dict[object, Watcher] = {}
        self.waiting = 0
        self.ready: asyncio.Event | None = asyncio.Event()  # None: the first rows are there
        self.task: asyncio.Task[None] | None = None
        self.failure: CollabError | None = None
        self.ended = False


class _Topic:
    """The queries of one collection, and the reads under way with the events since each began."""

    __slots__ = ("index", "reads")

    def __init__(self) -> None:
        self.index: QueryIndex[_Shared] = QueryIndex()
        self.reads: dict[_Shared, list[EntityEvent]] = {}


class LiveQueries:
    """``find`` is :meth:`collab.storage.base.Storage.find`; ``feed`` tells of what was committed since.

    Identical queries are one, however many watch: read once, matched once. ``max_rows`` bounds each, ``spare`` rows
    at least are held behind each window.
    """

    def __init__(self, find: Find, feed: Feed, *, max_rows: int = MAX_ROWS, spare: int = SPARE) -> None:
        self._max_rows = max_rows
        self._spare = spare
        self._find = find
        self._feed = feed
        self._queries: dict[tuple[str, str, bytes], _Shared] = {}
        self._topics: dict[tuple[str, str], _Topic] = {}
        self._reading = asyncio.Semaphore(_READS)
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self._unsubscribe = feed.subscribe(self._apply)

    def __len__(self) -> int:
        """How many different queries are open."""
        return len(self._queries)

    @property
    def entries(self) -> int:
        """Of how many parts all queries consist: none, once every watcher has closed."""
        listed = sum(1 + topic.index.entries for topic in self._topics.values())
        return len(self._queries) + listed + sum(not task.done() for task in self._tasks)

    async def open(self, project: str, collection: str, query: Query, watcher: Watcher) -> Callable[[], None]:
        """Watch the rows of a query; what is returned ends that, at once and for good.

        ``watcher.reset`` is called with the first rows before this returns, and from that moment on no event is
        missed. Raises (and never calls ``watcher.failed``) if it cannot begin: :class:`SubscriptionFailed` for more
        rows than a live query may have, and what ``find`` raises. If it fails later, ``watcher.failed`` is called.
        """
        if self._closed:
            raise Restarting("the server is shutting down")
        key = (project, collection, canonical(query))
        shared = self._queries.get(key)
        if shared is None:
            shared = self._begin(key, query)
        shared.waiting += 1
        try:
            if shared.ready is not None:
                await shared.ready.wait()
            if shared.failure is not None:
                raise shared.failure
            token = object()
            rows = shared.live.rows
            shared.watchers[token] = watcher
            try:
                watcher.reset([row.data for row in rows], [row.version for row in rows])
            except BaseException:
                del shared.watchers[token]
                raise
        finally:
            shared.waiting -= 1
            self._end_if_unused(shared)

        def close() -> None:
            if shared.watchers.pop(token, None) is not None:
                self._end_if_unused(shared)

        return close

    async def close(self) -> None:
        """End all queries; their watchers are told that the server goes down."""
        self._closed = True
        self._unsubscribe()
        for shared in list(self._queries.values()):
            self._fail(shared, Restarting("the server is shutting down"))
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # from the first watcher to the last

    def _begin(self, key: tuple[str, str, bytes], query: Query) -> _Shared:
        topic = self._topics.get(key[:2]) or _Topic()
        shared = _Shared(key, LiveQuery(query, max_rows=self._max_rows, spare=self._spare), topic)
        topic.index.add(shared, query.where)
        self._topics[key[:2]] = topic
        self._queries[key] = shared
        self._read_soon(shared)
        return shared

    def _end_if_unused(self, shared: _Shared) -> None:
        if not shared.watchers and not shared.waiting:
            self._end(shared)

    def _end(self, shared: _Shared) -> None:
        if shared.ended:
            return
        shared.ended = True
        del self._queries[shared.key]
        topic = shared.topic
        topic.index.remove(shared, shared.live.held)
        if not len(topic.index):
            del self._topics[shared.key[:2]]
        if shared.task is not None:
            shared.task.cancel()

    def _fail(self, shared: _Shared, error: CollabError) -> None:
        watchers = list(shared.watchers.values())
        shared.watchers.clear()
        shared.failure = error
        self._end(shared)
        self._begun(shared)
        for watcher in watchers:
            self._tell_failure(watcher, error)

    def _tell_failure(self, watcher: Watcher, error: CollabError) -> None:
        try:
            watcher.failed(error)
        except Exception:
            log.exception("a watcher failed when it was told that its query had ended")

    def _begun(self, shared: _Shared) -> None:
        if shared.ready is not None:
            shared.ready.set()
            shared.ready = None

    # reading

    def _read_soon(self, shared: _Shared) -> None:
        if shared.task is None:
            shared.task = asyncio.create_task(self._read(shared))
            self._tasks.add(shared.task)
            shared.task.add_done_callback(self._tasks.discard)

    async def _read(self, shared: _Shared) -> None:
        try:
            # Events of this or the last read may have used up what it brought.
            while shared.ready is not None or shared.live.dry:
                await self._read_once(shared)
            shared.task = None
        except CollabError as error:
            shared.task = None
            self._fail(shared, error)
        except Exception:
            log.exception("could not read the rows of a live query of %s/%s", *shared.key[:2])
            shared.task = None
            self._fail(shared, InternalError("the rows of this query could not be read"))

    async def _read_once(self, shared: _Shared) -> None:
        live, reads = shared.live, shared.topic.reads
        for _ in range(_ATTEMPTS):
            async with self._reading:
                since = self._feed.position
                kept = reads[shared] = []
                try:
                    found = await self._find(*shared.key[:2], live.wanted)
                    if len(kept) <= _KEPT and found.position >= since:
                        steps = self._load(shared, found, kept)
                        break
                finally:
                    del reads[shared]
        else:
            raise Unavailable("the rows of this query could not be read as they are now")
        self._begun(shared)
        self._tell(shared, steps)

    def _load(self, shared: _Shared, found: FoundRows, kept: Sequence[EntityEvent]) -> list[realtime.Step]:
        live, index = shared.live, shared.topic.index
        before = set(live.held)
        try:
            steps = live.load(found, kept)
            live.trim()
        finally:
            for name in live.held - before:
                index.hold(shared, name)
            for name in before - live.held:
                index.release(shared, name)
        return steps

    # events

    def _apply(self, project: str, event: EntityEvent) -> None:
        topic = self._topics.get((project, event.collection))
        if topic is None:
            return
        for kept in topic.reads.values():
            if len(kept) <= _KEPT:
                kept.append(event)
        for shared in topic.index.candidates(event.id, None if event.type == "deleted" else event.data):
            if shared.ready is None and not shared.ended:
                self._apply_to(shared, event)

    def _apply_to(self, shared: _Shared, event: EntityEvent) -> None:
        live, index = shared.live, shared.topic.index
        had = event.id in live.held
        try:
            steps = live.apply(event)
            dropped = live.trim()
        except Exception as error:
            index.release(shared, event.id)
            if not isinstance(error, CollabError):
                log.exception("a live query of %s/%s failed at %s", *shared.key[:2], event.id)
                error = InternalError("the rows of this query could not be kept")
            self._fail(shared, error)
            return
        has = event.id in live.held
        if has and not had:
            index.hold(shared, event.id)
        elif had and not has:
            index.release(shared, event.id)
        for name in dropped:
            index.release(shared, name)
        if live.dry:
            self._read_soon(shared)
        self._tell(shared, steps)

    def _tell(self, shared: _Shared, steps: Sequence[realtime.Step]) -> None:
        if not steps:
            return
        for token, watcher in list(shared.watchers.items()):
            if token not in shared.watchers:  # closed by one who was told before
                continue
            try:
                watcher.steps(steps)
            except Exception:
                log.exception("a watcher failed; it is not told any more")
                if shared.watchers.pop(token, None) is not None:
                    self._tell_failure(watcher, InternalError("its steps could not be told"))
                    self._end_if_unused(shared)
