"""All live queries and aggregates of a process: reads, shares and updates them.

:mod:`.query_window` and :mod:`.live_aggregate` compute their changes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from time import perf_counter

from collab.entities.feed import Feed
from collab.errors import CollabError, InternalError, InvalidRequest, Restarting, SubscriptionFailed, Unavailable
from collab.event import EntityEvent
from collab.query.aggregate import Aggregation
from collab.query.canonical import canonical, canonical_aggregation
from collab.query.include import KeysQuery, related_to
from collab.query.query import IndexPaths, Query
from collab.realtime.matching.live_aggregate import LiveAggregate
from collab.realtime.matching.query_window import MAX_ROWS, SPARE, LiveQuery
from collab.realtime.matching.shared_query import Live, QueryCost, SharedQuery, Topic, Watcher
from collab.realtime.matching.watchers import tell_all, tell_failure
from collab.records.entity_view import data_before
from collab.storage.base import FoundContents, FoundEach, FoundGroups, FoundRows
from collab.tasks import BackgroundTasks
from collab.turns import TurnOwner, Turns
from collab.wire.realtime import values as wire

log = logging.getLogger(__name__)

Find = Callable[[str, str, Query], Awaitable[FoundRows]]
"""Runs a storage query: project, collection, query."""

FindGroups = Callable[[str, str, Aggregation], Awaitable[FoundGroups]]
"""Computes an aggregate in the storage: project, collection, aggregate."""

FindEach = Callable[[str, str, KeysQuery], Awaitable[FoundEach]]
"""Runs one query for each key: project, collection, query."""

FindContents = Callable[[str, str, Sequence[str], IndexPaths], Awaitable[FoundContents]]
"""Reads rows with what their documents say: project, collection, ids, what is searched."""

_READS = 8  # concurrent reads if no `turns` are given; more would only queue and have to buffer events
_KEPT = 10_000  # events buffered during one read; a slower read is repeated
_ATTEMPTS = 3
_RETRY_SECONDS = 1.0  # until rows that could not be read for the moment are read again
_MOST_UNSURE = 50  # rows of one read, of which each may bring 100 KB of text
_COMPARED_AT_ONCE = 1_000_000  # characters, before the event loop does something else
_QUERY_COSTS = 10_000  # as many characters as comparing a query with little text
_MOST_AT_ONCE = (
    25_000  # rows of one read for several keys: a thousand windows that show 10,000 rows, with what they spare
)


class LiveQueries:
    """``find``, ``find_each``, ``find_contents`` and ``aggregate`` are those of a storage; ``feed`` delivers later
    commits.

    Identical queries are shared: read once and matched once, however many watchers there are. A query has at most
    ``max_rows``, and at least ``spare`` rows or values are held behind each window. Reads wait in ``turns``, shared
    with all queries.
    """

    def __init__(
        self,
        find: Find,
        aggregate: FindGroups,
        feed: Feed,
        *,
        find_each: FindEach,
        find_contents: FindContents,
        turns: Turns | None = None,
        max_rows: int = MAX_ROWS,
        spare: int = SPARE,
        retry_seconds: float = _RETRY_SECONDS,
    ) -> None:
        self._retry_seconds = retry_seconds
        self._max_rows = max_rows
        self._spare = spare
        self._find = find
        self._find_each = find_each
        self._find_contents = find_contents
        self._aggregate = aggregate
        self._feed = feed
        self._queries: dict[tuple[str, str, bytes], SharedQuery] = {}
        self._topics: dict[tuple[str, str], Topic] = {}
        self._turns = turns if turns is not None else Turns(_READS)
        self._tasks = BackgroundTasks(lambda error: log.error("reading rows failed", exc_info=error))
        self._closed = False
        self._unsubscribe = feed.subscribe(self._apply)

    def __len__(self) -> int:
        """Number of distinct open queries."""
        return len(self._queries)

    def listed(self, limit: int) -> list[QueryCost]:
        """The open queries, at most ``limit``."""
        return [shared.cost() for shared in islice(self._queries.values(), limit)]

    @property
    def entries(self) -> int:
        """Number of internal entries: 0 once every watcher has closed."""
        listed = sum(1 + topic.index.entries for topic in self._topics.values())
        return len(self._queries) + listed + len(self._tasks)

    async def open(
        self,
        project: str,
        collection: str,
        query: Query | Aggregation,
        watcher: Watcher,
        owner: TurnOwner | None = None,
    ) -> Callable[[], None]:
        """Watch the rows of a query for ``owner``. Returns a function that ends it immediately.

        ``watcher.reset`` is called with the first rows before this returns; from then on no event is missed. Raises
        (and never calls ``watcher.failed``) if it cannot start: :class:`SubscriptionFailed` for too many rows or
        groups, and the errors of ``find``. Later failures call ``watcher.failed``.
        """
        shared, is_new = self._shared(project, collection, query, owner or TurnOwner(project))
        if is_new:
            self._read_soon(shared)
        try:
            await self._first_rows(shared)
            return self._attach(shared, watcher)
        finally:
            shared.waiting -= 1
            self._end_if_unused(shared)

    async def open_each(
        self,
        project: str,
        collection: str,
        member: str,
        query: Query,
        watchers: Mapping[str, Watcher],
        owner: TurnOwner | None = None,
    ) -> dict[str, Callable[[], None]]:
        """:meth:`open` for each key, with one read: of those rows of ``query`` whose ``member`` equals the key."""
        payer = owner or TurnOwner(project)
        opened = {key: self._shared(project, collection, related_to(member, key, query), payer) for key in watchers}
        closers: dict[str, Callable[[], None]] = {}
        try:
            new = {key: shared for key, (shared, is_new) in opened.items() if is_new}
            if new:
                self._tasks.spawn(self._read_each(new, member, query))
            for shared, _ in opened.values():
                await self._first_rows(shared)
            for key, (shared, _) in opened.items():
                closers[key] = self._attach(shared, watchers[key])
        except BaseException:
            for close in closers.values():
                close()
            raise
        finally:
            for shared, _ in opened.values():
                shared.waiting -= 1
                self._end_if_unused(shared)
        return closers

    async def close(self) -> None:
        """End all queries. Watchers receive :class:`Restarting`."""
        self._closed = True
        self._unsubscribe()
        for shared in list(self._queries.values()):
            self._fail(shared, Restarting("the server is shutting down"))
        await self._tasks.wait()

    # life of a shared query

    def _shared(
        self, project: str, collection: str, query: Query | Aggregation, owner: TurnOwner
    ) -> tuple[SharedQuery, bool]:
        """Return the query, which the caller waits for, and whether it is new and must be read."""
        if self._closed:
            raise Restarting("the server is shutting down")
        name = canonical(query) if isinstance(query, Query) else canonical_aggregation(query)
        key = (project, collection, name)
        shared = self._queries.get(key)
        is_new = shared is None
        if shared is None:
            shared = self._begin(key, query, owner)
        shared.waiting += 1
        return shared, is_new

    async def _first_rows(self, shared: SharedQuery) -> None:
        if shared.ready is not None:
            await shared.ready.wait()
        if shared.failure is not None:
            raise shared.failure

    def _attach(self, shared: SharedQuery, watcher: Watcher) -> Callable[[], None]:
        if shared.failure is not None:  # it has ended since its first rows
            raise shared.failure
        token = object()
        rows = shared.live.rows
        shared.watchers[token] = watcher
        try:
            watcher.reset([row.data for row in rows], [row.version for row in rows])
        except BaseException:
            del shared.watchers[token]
            raise

        def close() -> None:
            if shared.watchers.pop(token, None) is not None:
                self._end_if_unused(shared)

        return close

    def _begin(self, key: tuple[str, str, bytes], query: Query | Aggregation, owner: TurnOwner) -> SharedQuery:
        topic = self._topics.get(key[:2]) or Topic()
        live: Live
        if isinstance(query, Query):
            live = LiveQuery(query, max_rows=self._max_rows, spare=self._spare)
        else:
            live = LiveAggregate(query, spare=self._spare)
            topic.aggregates += 1
        shared = SharedQuery(key, owner, live, topic)
        topic.index.add(shared, live.indexed)
        self._topics[key[:2]] = topic
        self._queries[key] = shared
        return shared

    def _end_if_unused(self, shared: SharedQuery) -> None:
        if not shared.watchers and not shared.waiting:
            self._end(shared)

    def _end(self, shared: SharedQuery) -> None:
        if shared.ended:
            return
        shared.ended = True
        del self._queries[shared.key]
        topic = shared.topic
        topic.index.remove(shared, shared.live.held)
        topic.aggregates -= isinstance(shared.live, LiveAggregate)
        if not len(topic.index):
            del self._topics[shared.key[:2]]
        topic.unsure.pop(shared, None)
        if shared.task is not None:
            shared.task.cancel()
        if topic.settling is not None and not topic.unsure:
            topic.settling.cancel()
            topic.settling = None

    def _fail(self, shared: SharedQuery, error: CollabError) -> None:
        watchers = list(shared.watchers.values())
        shared.watchers.clear()
        shared.failure = error
        self._end(shared)
        self._begun(shared)
        for watcher in watchers:
            tell_failure(watcher, error)

    def _begun(self, shared: SharedQuery) -> None:
        if shared.ready is not None:
            shared.ready.set()
            shared.ready = None

    # reading

    def _read_soon(self, shared: SharedQuery) -> None:
        if shared.task is None:
            shared.task = self._tasks.spawn(self._read(shared))

    async def _read(self, shared: SharedQuery) -> None:
        try:
            # events during this read or the previous one may have used up its rows
            while shared.ready is not None or shared.live.dry:
                await self._read_once(shared)
            shared.task = None
        except CollabError as error:
            shared.task = None
            self._fail(shared, error)
        except Exception:
            log.exception("could not read the rows of a live query of %s/%s", *shared.key[:2])
            shared.task = None
            self._fail(shared, InternalError("could not read the rows of this query"))

    async def _read_once(self, shared: SharedQuery) -> None:
        live, reads = shared.live, shared.topic.reads
        for _ in range(_ATTEMPTS):
            async with self._turns.turn(shared.owner):
                if shared.ready is None and not live.dry:  # events made it superfluous
                    return
                since = self._feed.position(shared.key[0])
                kept = reads[shared] = []
                try:
                    began = perf_counter()
                    found = await self._answer(shared, live.ask())
                    shared.reads += 1
                    shared.read_seconds += perf_counter() - began
                    if len(kept) <= _KEPT and found.position >= since:
                        steps = self._load(shared, found, kept)
                        break
                finally:
                    del reads[shared]
        else:
            raise Unavailable("could not read a current state of the rows of this query")
        self._begun(shared)
        self._tell(shared, steps)
        self._settle_soon(shared)

    def _settle_soon(self, shared: SharedQuery) -> None:
        """Read the rows of a query whose documents decide whether they are found, if there are any."""
        topic, live = shared.topic, shared.live
        if not isinstance(live, LiveQuery) or not live.unsure or shared.ended:
            return
        topic.unsure[shared] = live
        if topic.settling is None:
            topic.settling = self._tasks.spawn(self._settle(topic, *shared.key[:2]))

    async def _settle(self, topic: Topic, project: str, collection: str) -> None:
        """Read rows once for all queries of a collection that are unsure of them."""
        failed = 0
        try:
            while topic.next_unsure():
                failure = await self._settle_some(topic, project, collection)
                failed = 0 if failure is None else failed + 1
                if failure is None:
                    continue
                if failure.retryable and failed < _ATTEMPTS:
                    await asyncio.sleep(self._retry_seconds)
                    continue
                queries = topic.next_unsure()
                for shared in queries:
                    if len(queries) > 1 and not isinstance(failure, Unavailable):  # perhaps it is a row of one of them
                        alone = await self._settle_some(topic, project, collection, only=shared)
                    else:
                        alone = failure
                    if alone is not None and not shared.ended:
                        self._fail(shared, alone)
        finally:
            if topic.settling is asyncio.current_task():
                topic.settling = None

    async def _settle_some(
        self, topic: Topic, project: str, collection: str, only: SharedQuery | None = None
    ) -> CollabError | None:
        """Read some rows of which queries are unsure, of all or of one of them. Returns why that failed."""
        try:
            await self._settle_read(topic, project, collection, only)
        except CollabError as error:
            return error
        except Exception:
            log.exception("could not read rows of live queries of %s/%s", project, collection)
            return InternalError("could not update the rows of this query")
        return None

    async def _settle_read(self, topic: Topic, project: str, collection: str, only: SharedQuery | None) -> None:
        for _ in range(_ATTEMPTS):
            async with self._turns.turn(TurnOwner(project)):
                queries = topic.next_unsure()  # with those that have come meanwhile
                if only is not None:
                    queries = {shared: live for shared, live in queries.items() if shared is only}
                if not queries:
                    return
                ids = _first_unsure(queries.values())
                searched = next(iter(queries.values())).searched
                since = self._feed.position(project)
                began = perf_counter()
                found = await self._find_contents(project, collection, ids, searched)
                seconds = (perf_counter() - began) / len(queries)
            for shared in queries:
                shared.reads += 1
                shared.read_seconds += seconds
            if found.position >= since:
                break
        else:
            raise Unavailable("could not read a current state of the rows of this query")
        await self._settle_each(queries, ids, found)

    async def _settle_each(
        self, queries: Mapping[SharedQuery, LiveQuery], ids: Sequence[str], found: FoundContents
    ) -> None:
        size = _QUERY_COSTS + sum(len(contents) for _, contents in found.rows.values())
        compared = 0
        for shared, live in queries.items():
            mine = [name for name in ids if name in live.unsure]
            if shared.ended or not mine:
                continue
            self._settle_one(shared, live, mine, found)
            shared.topic.unsure.pop(shared, None)
            self._settle_soon(shared)  # with its other rows, after the other queries
            compared += size
            if compared >= _COMPARED_AT_ONCE:
                compared = 0
                await asyncio.sleep(0)

    def _settle_one(self, shared: SharedQuery, live: LiveQuery, ids: Sequence[str], found: FoundContents) -> None:
        began = perf_counter()
        try:
            steps = live.settle(ids, found)
            dropped = live.trim()
        except Exception as error:
            if not isinstance(error, CollabError):
                log.exception("could not update a live query of %s/%s", *shared.key[:2])
                error = InternalError("could not update the rows of this query")
            self._fail(shared, error)
            return
        shared.seconds += perf_counter() - began
        for name in {*(name for name in ids if not live.holds(name)), *dropped}:
            shared.topic.index.release(shared, name)
        shared.steps += len(steps)
        if live.dry:
            self._read_soon(shared)
        self._tell(shared, steps)

    async def _read_each(self, new: Mapping[str, SharedQuery], member: str, query: Query) -> None:
        """Read the first rows of several queries at once."""
        try:
            await self._read_each_once(new, member, query)
        except CollabError as error:
            failure = error
        except Exception:
            log.exception("could not read the rows of live queries")
            failure = InternalError("could not read the rows of this query")
        else:
            for shared in new.values():
                if not shared.ended and shared.live.dry:
                    self._read_soon(shared)
                self._settle_soon(shared)
            return
        for shared in new.values():
            if not shared.ended:
                self._fail(shared, failure)

    async def _read_each_once(self, new: Mapping[str, SharedQuery], member: str, query: Query) -> None:
        project, collection, _ = next(iter(new.values())).key
        reading = object()
        for _ in range(_ATTEMPTS):
            left = {key: shared for key, shared in new.items() if not shared.ended}
            if not left:
                return
            one = next(iter(left.values()))
            asked = one.live.ask()
            assert isinstance(asked, Query)
            async with self._turns.turn(one.owner):
                since = self._feed.position(project)
                kept = one.topic.reads[reading] = []
                try:
                    began = perf_counter()
                    wanted = KeysQuery(member, list(left), replace(query, limit=asked.limit), _MOST_AT_ONCE)
                    found = await self._find_each(project, collection, wanted)
                    seconds = (perf_counter() - began) / len(left)
                    if len(found) >= _MOST_AT_ONCE:
                        raise SubscriptionFailed("too many rows: give the relations of the query a limit")
                    if len(kept) <= _KEPT and found.position >= since:
                        for key, shared in left.items():
                            if not shared.ended:
                                shared.reads += 1
                                shared.read_seconds += seconds
                                self._load(shared, FoundRows(found.rows.get(key, ()), found.position), kept)
                                self._begun(shared)
                        return
                finally:
                    del one.topic.reads[reading]
        raise Unavailable("could not read a current state of the rows of this query")

    async def _answer(self, shared: SharedQuery, asked: Query | Aggregation) -> FoundRows | FoundGroups:
        if isinstance(asked, Query):
            return await self._find(*shared.key[:2], asked)
        try:
            return await self._aggregate(*shared.key[:2], asked)
        except InvalidRequest as error:  # too many groups
            raise SubscriptionFailed(error.message) from error

    def _load(
        self, shared: SharedQuery, found: FoundRows | FoundGroups, kept: Sequence[EntityEvent]
    ) -> list[wire.Step]:
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
        found = topic.index.candidates(event.id, None if event.type == "deleted" else event.data)
        if topic.aggregates and event.type in ("updated", "deleted"):  # they do not know which rows they hold
            found |= topic.index.candidates(event.id, data_before(event))
        for shared in found:
            if shared.ready is None and not shared.ended:
                self._apply_to(shared, event)

    def _apply_to(self, shared: SharedQuery, event: EntityEvent) -> None:
        live, index = shared.live, shared.topic.index
        had = live.holds(event.id)
        began = perf_counter()
        try:
            steps = live.apply(event)
            dropped = live.trim()
            shared.events += 1
            shared.steps += len(steps)
            shared.seconds += perf_counter() - began
        except Exception as error:
            index.release(shared, event.id)
            if not isinstance(error, CollabError):
                log.exception("a live query of %s/%s failed at %s", *shared.key[:2], event.id)
                error = InternalError("could not update the rows of this query")
            self._fail(shared, error)
            return
        has = live.holds(event.id)
        if has and not had:
            index.hold(shared, event.id)
        elif had and not has:
            index.release(shared, event.id)
        for name in dropped:
            index.release(shared, name)
        if live.dry:
            self._read_soon(shared)
        self._settle_soon(shared)
        self._tell(shared, steps)

    def _tell(self, shared: SharedQuery, steps: Sequence[wire.Step]) -> None:
        if steps and tell_all(shared.watchers, lambda watcher: watcher.steps(steps)):
            self._end_if_unused(shared)


def _first_unsure(queries: Iterable[LiveQuery]) -> list[str]:
    """Some of the rows of which these queries are unsure."""
    ids: dict[str, None] = {}
    for live in queries:
        ids.update(dict.fromkeys(islice(live.unsure, _MOST_UNSURE)))
        if len(ids) >= _MOST_UNSURE:
            break
    return list(islice(ids, _MOST_UNSURE))
