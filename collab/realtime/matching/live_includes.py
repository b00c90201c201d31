"""Live queries with related rows (``include``).

The rows are one live query, and what is related to a row is another: one for each key that the rows show. Two rows with
the same key share it, and so do all watchers of the same query. So an event of a related row costs what it costs in any
live query, whatever it is related to; only a row that comes, goes or changes its key opens and ends queries.

Rejected: one query for each relation, of all keys that are shown. It cannot limit the rows of each key, must be read
again whenever a key comes, and no two queries would share it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, Protocol

from collab.errors import CollabError, InternalError, Restarting, SubscriptionFailed
from collab.query.canonical import canonical
from collab.query.include import MAX_INCLUDING_ROWS, MAX_WITH_RELATED, RelationQuery
from collab.query.query import Query
from collab.query.steps import apply_steps
from collab.realtime.listeners import ignore
from collab.realtime.matching.live_queries import LiveQueries
from collab.realtime.matching.watchers import tell_all, tell_failure
from collab.records.including import included_by, too_many
from collab.tasks import BackgroundTasks
from collab.turns import TurnOwner
from collab.wire.realtime.values import Included, IncludedSteps, Step

log = logging.getLogger(__name__)

_Key = tuple[str, str, bytes, tuple[tuple[str, str, str, str, bool, bytes], ...]]
_List = tuple[str, str]
"""A relation, and a key."""


class RowsChange(NamedTuple):
    """What has changed: steps of the rows, and then steps of the related ones. Shared by all watchers."""

    steps: Sequence[Step]
    included: Sequence[IncludedSteps]


class IncludesWatcher(Protocol):
    """Receives one live query with related rows. What it receives is shared and must not be modified."""

    def all_rows(
        self, rows: list[dict[str, Any]], versions: list[int], included: Mapping[str, Included] | None
    ) -> None:
        """Receive all rows, in order."""

    def changed(self, told: RowsChange) -> None:
        """Receive the changes since the last call."""

    def failed(self, error: CollabError) -> None:
        """The query has ended; no more calls follow."""


class LiveIncludes:
    """All live queries with related rows of a process."""

    def __init__(
        self, queries: LiveQueries, *, max_rows: int = MAX_INCLUDING_ROWS, max_total: int = MAX_WITH_RELATED
    ) -> None:
        self._queries = queries
        self._max_rows = max_rows
        self._max_total = max_total
        self._trees: dict[_Key, _Tree] = {}
        self._tasks = BackgroundTasks(lambda error: log.error("reading related rows failed", exc_info=error))
        self._closed = False

    def __len__(self) -> int:
        """Number of distinct open queries."""
        return len(self._trees)

    async def open(
        self,
        project: str,
        collection: str,
        query: Query,
        relations: Sequence[RelationQuery],
        watcher: IncludesWatcher,
        owner: TurnOwner,
    ) -> Callable[[], None]:
        """Watch the rows of a query and what is related to them. Returns a function that ends it immediately.

        ``watcher.all_rows`` is called before this returns; from then on nothing is missed. Raises (and never calls
        ``watcher.failed``) if it cannot start, as :meth:`LiveQueries.open` does; :class:`SubscriptionFailed` also for
        too many rows with the related ones.
        """
        if self._closed:
            raise Restarting("the server is shutting down")
        limited = query if query.limit is not None else replace(query, limit=self._max_rows + 1)
        key = (project, collection, canonical(query), tuple(map(_name, relations)))
        tree = self._trees.get(key)
        if tree is None:
            tree = self._trees[key] = _Tree(
                self._queries,
                project,
                relations,
                self._max_rows,
                self._max_total,
                lambda: self._trees.pop(key, None),
                self._tasks,
            )
            tree.task = self._tasks.spawn(tree.begin(collection, limited, owner))
        return await tree.attach(watcher)

    async def close(self) -> None:
        """End all queries. Watchers receive :class:`Restarting`."""
        self._closed = True
        for tree in list(self._trees.values()):
            tree.fail(Restarting("the server is shutting down"))
        await self._tasks.wait()


def _name(relation: RelationQuery) -> tuple[str, str, str, str, bool, bytes]:
    """Equal for relations with the same rows; ``fields`` are the watcher's."""
    return relation.name, relation.collection, relation.by, relation.member, relation.one, canonical(relation.query)


class _Related:
    """The rows of one relation with one key. It is a watcher of their live query."""

    __slots__ = ("_list", "_tree", "close", "rows", "versions")

    def __init__(self, tree: _Tree, of: _List) -> None:
        self._tree = tree
        self._list = of
        self.rows: list[dict[str, Any]] = []
        self.versions: dict[str, int] = {}
        self.close: Callable[[], None] = ignore

    def reset(self, rows: list[dict[str, Any]], versions: list[int]) -> None:
        self.rows = rows
        self.versions = dict(zip((row["id"] for row in rows), versions, strict=True))

    def steps(self, steps: Sequence[Step]) -> None:
        before = len(self.rows)
        self.rows = apply_steps(self.rows, steps)
        _note_versions(self.versions, steps)
        self._tree.related_changed(self._list, steps, len(self.rows) - before)

    def failed(self, error: CollabError) -> None:
        self._tree.fail(error)

    def entering(self) -> list[Step]:
        return [
            Step(op="enter", id=row["id"], index=index, data=row, version=self.versions[row["id"]])
            for index, row in enumerate(self.rows)
        ]


class _Tree:
    """One query with its related rows, and everybody who watches it. It is a watcher of the query's rows.

    Its state is what watchers have been told. Steps of the rows wait until what is related to new keys has been read:
    watchers get both at once.
    """

    def __init__(
        self,
        queries: LiveQueries,
        project: str,
        relations: Sequence[RelationQuery],
        max_rows: int,
        max_total: int,
        ended: Callable[[], object],
        tasks: BackgroundTasks,
    ) -> None:
        self._queries = queries
        self._project = project
        self._relations = relations
        self._max_rows = max_rows
        self._max_total = max_total
        self._ended = ended
        self._tasks = tasks
        self._owner = TurnOwner(project)
        self._rows: list[dict[str, Any]] = []
        self._by_id: dict[str, dict[str, Any]] = {}
        self._versions: dict[str, int] = {}
        self._uses: Counter[_List] = Counter()
        self._related: dict[_List, _Related] = {}
        self._total = 0
        self._steps: deque[Sequence[Step]] = deque()
        self._close_rows: Callable[[], None] = ignore
        self._watchers: dict[object, IncludesWatcher] = {}
        self._waiting = 0
        self._ready = asyncio.Event()
        self._failure: CollabError | None = None
        self._over = False
        self.task: asyncio.Task[None] | None = None

    # watchers

    async def attach(self, watcher: IncludesWatcher) -> Callable[[], None]:
        self._waiting += 1
        try:
            await self._ready.wait()
            if self._failure is not None:
                raise self._failure
            token = object()
            versions = [self._versions[row["id"]] for row in self._rows]
            watcher.all_rows(list(self._rows), versions, self._included())
            self._watchers[token] = watcher
        finally:
            self._waiting -= 1
            self._end_if_unused()

        def close() -> None:
            if self._watchers.pop(token, None) is not None:
                self._end_if_unused()

        return close

    def fail(self, error: CollabError) -> None:
        if self._over:
            return
        watchers = list(self._watchers.values())
        self._failure = error
        self._end()
        for watcher in watchers:
            tell_failure(watcher, error)

    def _end_if_unused(self) -> None:
        if not self._watchers and not self._waiting:
            self._end()

    def _end(self) -> None:
        if self._over:
            return
        self._over = True
        self._ended()
        self._ready.set()
        self._watchers.clear()
        self._close_rows()
        for related in self._related.values():
            related.close()
        self._related.clear()
        if self.task is not None and self.task is not asyncio.current_task():
            self.task.cancel()

    def _tell(self, told: RowsChange) -> None:
        if tell_all(self._watchers, lambda watcher: watcher.changed(told)):
            self._end_if_unused()

    def _included(self) -> dict[str, Included]:
        found = {relation.name: included_by(relation, {}, {}) for relation in self._relations}
        for (name, key), related in self._related.items():
            if self._uses[name, key] and related.rows:
                found[name].rows[key] = list(related.rows)
                found[name].versions[key] = [related.versions[row["id"]] for row in related.rows]
        return found

    # the rows

    def reset(self, rows: list[dict[str, Any]], versions: list[int]) -> None:
        """Receive the first rows."""
        self._rows = rows
        self._by_id = {row["id"]: row for row in rows}
        self._versions = dict(zip(self._by_id, versions, strict=True))

    def steps(self, steps: Sequence[Step]) -> None:
        """Receive steps of the rows."""
        self._steps.append(steps)
        if self.task is None:
            self._go_on()

    def failed(self, error: CollabError) -> None:
        """The query of the rows has ended."""
        self.fail(error)

    async def begin(self, collection: str, query: Query, owner: TurnOwner) -> None:
        """Read the first rows and what is related to them."""
        self._owner = owner

        async def read() -> None:
            self._close_rows = await self._queries.open(self._project, collection, query, self, owner)
            if self._over:
                self._close_rows()
                return
            self._uses.update(of for row in self._rows for of in self._lists_of(row))
            self._total = len(self._rows)
            if self._total > self._max_rows:
                raise SubscriptionFailed(f"more than {self._max_rows:,} rows: give a query with include a limit")
            await self._open(list(self._uses))
            if self._total > self._max_total:
                raise SubscriptionFailed(too_many())
            self._ready.set()

        await self._guarded(read)

    def _go_on(self) -> None:
        """Tell the steps that wait, as far as what is related to their rows is known; read what is not."""
        while self._steps and not self._over:
            steps = self._steps[0]
            uses, changed = self._uses_after(steps)
            unknown = [of for of, count in uses.items() if count > 0 and of not in self._related]
            if unknown:
                self.task = self._tasks.spawn(self._guarded(partial(self._open, unknown)))
                return
            self._steps.popleft()
            try:
                self._apply(steps, uses, changed)
            except CollabError as error:
                self.fail(error)

    async def _guarded(self, read: Callable[[], Any]) -> None:
        try:
            await read()
        except CollabError as error:
            self.fail(error)
        except Exception:
            log.exception("could not read related rows")
            self.fail(InternalError("could not read the rows of this query"))
        finally:
            self.task = None
        self._go_on()

    def _uses_after(self, steps: Sequence[Step]) -> tuple[Counter[_List], dict[str, dict[str, Any] | None]]:
        """Return how many rows have each key that the steps add or remove, and the rows that they change."""
        changed: dict[str, dict[str, Any] | None] = {}
        uses: Counter[_List] = Counter()
        for step in steps:
            if step.op == "move":
                continue
            old = changed[step.id] if step.id in changed else self._by_id.get(step.id)
            new = _row_after(old, step)
            changed[step.id] = new
            before = set() if old is None else self._lists_of(old)
            after = set() if new is None else self._lists_of(new)
            for of in before - after:
                uses[of] -= 1
            for of in after - before:
                uses[of] += 1
        return Counter({of: self._uses[of] + count for of, count in uses.items() if count}), changed

    def _apply(self, steps: Sequence[Step], uses: Counter[_List], changed: Mapping[str, dict[str, Any] | None]) -> None:
        before = len(self._rows)
        self._rows = apply_steps(self._rows, steps)
        _note_versions(self._versions, steps)
        for name, row in changed.items():
            if row is None:
                self._by_id.pop(name, None)
            else:
                self._by_id[name] = row
        self._total += len(self._rows) - before
        fresh: list[IncludedSteps] = []
        for of, count in uses.items():
            was = self._uses[of]
            if count:
                self._uses[of] = count
            else:
                del self._uses[of]
                gone = self._related.pop(of)
                gone.close()
                self._total -= len(gone.rows)
            if count and not was:  # also without rows: a slow client may still have those of before
                entering = self._related[of].entering()
                fresh.append(IncludedSteps(relation=of[0], key=of[1], steps=entering, fresh=True))
        if len(self._rows) > self._max_rows:
            raise SubscriptionFailed(f"more than {self._max_rows:,} rows: give a query with include a limit")
        self._check_total_soon()
        self._tell(RowsChange(steps, fresh))

    # related rows

    def related_changed(self, of: _List, steps: Sequence[Step], more: int) -> None:
        """The rows of a relation with one key have changed, and there are so many more of them."""
        if self._over or of not in self._related:
            return
        self._total += more
        self._check_total_soon()
        if self._uses[of] and self._ready.is_set():
            self._tell(RowsChange((), [IncludedSteps(relation=of[0], key=of[1], steps=list(steps))]))

    async def _open(self, lists: Sequence[_List]) -> None:
        """Open the live queries of these."""
        await asyncio.gather(*(self._open_relation(relation, lists) for relation in self._relations))

    async def _open_relation(self, relation: RelationQuery, lists: Sequence[_List]) -> None:
        opening = {key: _Related(self, (name, key)) for name, key in lists if name == relation.name}
        if not opening:
            return
        closers = await self._queries.open_each(
            self._project, relation.collection, relation.member, relation.query, opening, self._owner
        )
        for key, related in opening.items():
            related.close = closers[key]
            if self._over:
                related.close()
            else:
                self._related[relation.name, key] = related
                self._total += len(related.rows)

    def _lists_of(self, row: Mapping[str, Any]) -> set[_List]:
        found = ((relation.name, relation.key_of(row)) for relation in self._relations)
        return {(name, key) for name, key in found if key is not None}

    def _check_total_soon(self) -> None:
        """Not at once: a row that goes from one list to another may be in both for a moment."""
        if self._total > self._max_total:
            asyncio.get_running_loop().call_soon(self._end_if_too_large)

    def _end_if_too_large(self) -> None:
        if self._total > self._max_total:
            self.fail(SubscriptionFailed(too_many()))


def _row_after(row: dict[str, Any] | None, step: Step) -> dict[str, Any] | None:
    if step.op == "enter":
        return step.data
    if step.op == "leave" or row is None:
        return None
    return {name: value for name, value in {**row, **(step.set or {})}.items() if name not in (step.unset or ())}


def _note_versions(versions: dict[str, int], steps: Sequence[Step]) -> None:
    for step in steps:
        if step.op == "leave":
            versions.pop(step.id, None)
        elif step.version is not None:
            versions[step.id] = step.version
