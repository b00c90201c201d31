"""One live query: the rows of its window, and the effect of an event on them. Pure.

It holds the first rows of the query's order: those that ``offset`` skips, the window, and some behind it (the buffer),
so that a row that leaves can be replaced without a storage query. All rows up to ``_horizon`` are held; rows behind it
are read (:meth:`LiveQuery.load`) when the buffer is used up.

Events do not say what documents say. So if the contents are searched, an event makes its row *unsure* where they may
decide whether it is found, and the row stays as it was until it has been read (:meth:`LiveQuery.settle`). Until then
its events are needed, even if it is in no window: it may be deleted while it is being read.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence, Set
from dataclasses import replace
from operator import attrgetter
from typing import Any

from collab.errors import SubscriptionFailed
from collab.event import EntityEvent
from collab.query.match import compile_query, sort_key
from collab.query.query import Condition, IndexPaths, Query
from collab.query.search import compile_search, finds_contents
from collab.realtime.matching.row_steps import WindowRow, change, difference, enter, leave
from collab.records.entity_view import is_of_contents
from collab.storage.base import EntityRow, FoundContents, FoundRows
from collab.wire.realtime.values import Step

MAX_ROWS = 10_000
"""Maximum number of rows of a live query, including those that ``offset`` skips."""
SPARE = 10
"""Rows held behind a window, plus a quarter of its ``limit``; at most a hundred."""

_key = attrgetter("key")


class LiveQuery:
    """Rows of one query, kept current by events. Call :meth:`load` first.

    Raises :class:`SubscriptionFailed` if offset and limit reach beyond ``max_rows``.
    """

    __slots__ = (
        "_buffer",
        "_by_contents",
        "_by_id",
        "_end",
        "_first",
        "_horizon",
        "_is_found",
        "_limit",
        "_matches",
        "_order",
        "_position",
        "_rows",
        "_searched",
        "_unsure",
        "query",
    )

    def __init__(self, query: Query, *, max_rows: int = MAX_ROWS, spare: int = SPARE) -> None:
        self.query = query
        self._limit = max_rows
        self._first = query.offset
        self._end = None if query.limit is None else query.offset + query.limit
        if (self._first if self._end is None else self._end) > max_rows:
            raise SubscriptionFailed(f"offset plus limit of a live query may be at most {max_rows}")
        self._buffer = 0 if query.limit is None else min(spare + query.limit // 4, 100)
        self._by_contents = query.search is not None and finds_contents(query.search.paths)
        self._is_found = compile_search(query.search) if query.search is not None else None
        self._searched = frozenset(path[0] for path in query.search.paths) if query.search is not None else frozenset()
        self._matches = compile_query(replace(query, search=None) if self._by_contents else query)
        self._order = sort_key(query.order_by)
        self._horizon: Any = None  # None: all existing rows are held
        self._position = -1
        self._rows: list[WindowRow] = []
        self._by_id: dict[str, WindowRow] = {}
        self._unsure: dict[str, EntityEvent] = {}  # the newest event of each of these rows

    @property
    def rows(self) -> Sequence[WindowRow]:
        """The rows of the window, in order."""
        return self._rows[self._first : self._end]

    @property
    def held(self) -> Set[str]:
        """The ids of all held rows: in the window, before and behind it; and of those that are unsure."""
        return self._by_id.keys() | self._unsure.keys() if self._unsure else self._by_id.keys()

    def holds(self, name: str) -> bool:
        """Whether an id is one of :attr:`held`."""
        return name in self._by_id or name in self._unsure

    @property
    def dry(self) -> bool:
        """Whether :meth:`load` is due. Until then the window may be too short, but never wrong."""
        return self._horizon is not None and self._end is not None and len(self._rows) <= self._end

    @property
    def indexed(self) -> Condition:
        """The condition by which events find it."""
        return self.query.where

    @property
    def searched(self) -> IndexPaths:
        """What the query searches."""
        return self.query.search.paths if self.query.search is not None else ()

    @property
    def unsure(self) -> Set[str]:
        """The ids of the rows to read and :meth:`settle`, the longest unsure first."""
        return self._unsure.keys()

    def settle(self, ids: Sequence[str], found: FoundContents) -> list[Step]:
        """Process those of the rows ``ids`` that are unsure, as they were read, and return the effect on the window.

        Rows with later events stay unsure. Check :attr:`dry` and call :meth:`trim` afterwards. Raises
        :class:`SubscriptionFailed` for too many rows.
        """
        window = self.rows
        steps: list[Step] = []
        for name in ids:
            event = self._unsure.get(name)
            if event is None or event.position > found.position:
                continue
            del self._unsure[name]
            before, after = self._by_id.get(name), None
            read = found.rows.get(name)
            if read is not None and self._matches(read[0].data) and self._is_found_in(*read):
                after = self._held_as(read[0].data, read[0].version)
            steps += self._put(name, before, after, event.version)
        return steps if len(ids) == 1 or not steps else difference(window, self.rows)

    def _is_found_in(self, row: EntityRow, contents: str) -> bool:
        return self._is_found is None or self._is_found(row.data, contents)

    def ask(self) -> Query:
        """Return the storage query that :meth:`load` needs."""
        return replace(self.query, offset=0, limit=self._limit + 1 if self._end is None else self._end + self._buffer)

    def load(self, found: FoundRows, later: Iterable[EntityEvent] = ()) -> list[Step]:
        """Process the answer to :meth:`ask`, and the events since it was asked; those it includes are ignored.

        Returns the steps from the old window to the new one, none the first time. Raises :class:`SubscriptionFailed`
        for too many rows.
        """
        before = self.rows if self._position >= 0 else None
        if self._end is None and len(found.rows) > self._limit:
            raise self._too_many()
        rows = [WindowRow(self._order(row.data), row.data, row.version) for row in found.rows]
        rows.sort(key=_key)
        full = self._end is not None and len(rows) >= self._end + self._buffer
        self._rows = rows
        self._by_id = {row.data["id"]: row for row in rows}
        self._horizon = rows[-1].key if full and rows else None
        self._position = found.position
        self._unsure = {}
        for event in later:
            self.apply(event)
        return [] if before is None else difference(before, self.rows)

    def apply(self, event: EntityEvent) -> list[Step]:
        """Return the effect of an event on the window: none, one, or two rows, each moved at most once.

        Events that the rows already include are ignored. Check :attr:`dry` and call :meth:`trim` afterwards. Raises
        :class:`SubscriptionFailed` for too many rows.
        """
        if event.position <= self._position:
            return []
        before = self._by_id.get(event.id)
        if before is not None and event.version <= before.version:
            return []
        after = None
        if event.type != "deleted" and self._matches(event.data):
            after = self._held_as(event.data, event.version)
            if after is not None and self._by_contents and not self._is_still_found(before, event):
                self._unsure[event.id] = event
                return []
        self._unsure.pop(event.id, None)
        return self._put(event.id, before, after, event.version)

    def _held_as(self, data: dict[str, Any], version: int) -> WindowRow | None:
        """The row for an entity that matches, unless it is behind the horizon."""
        key = self._order(data)
        return WindowRow(key, data, version) if self._horizon is None or not self._horizon < key else None

    def _is_still_found(self, before: WindowRow | None, event: EntityEvent) -> bool:
        """Whether a row is surely found because it was, and nothing that is searched has changed."""
        return (
            before is not None
            and event.id not in self._unsure
            and event.type == "updated"
            and event.changes.keys().isdisjoint(self._searched)
            and not any(map(is_of_contents, event.changes.values()))
        )

    def _put(self, name: str, before: WindowRow | None, after: WindowRow | None, version: int) -> list[Step]:
        if before is None and after is None:
            return []
        if before is None and self._end is None and len(self._rows) >= self._limit:
            raise self._too_many()
        return self._replace(name, before, after, version)

    def trim(self) -> list[str]:
        """Drop rows far behind the window. Returns the ids that are :attr:`held` no more."""
        if self._end is None or len(self._rows) <= self._end + 2 * self._buffer:
            return []
        keep = self._end + self._buffer
        ids = [row.data["id"] for row in self._rows[keep:]]
        del self._rows[keep:]
        for name in ids:
            del self._by_id[name]
        self._horizon = self._rows[-1].key
        return [name for name in ids if name not in self._unsure]

    def _replace(self, name: str, before: WindowRow | None, after: WindowRow | None, version: int) -> list[Step]:
        rows, first = self._rows, self._first
        length = len(rows)
        old = new = -1
        if before is not None:
            old = bisect_left(rows, before.key, key=_key)
            del rows[old]
            del self._by_id[name]
        if after is not None:
            new = bisect_left(rows, after.key, key=_key)
            rows.insert(new, after)
            self._by_id[name] = after
        last = max(length, len(rows)) if self._end is None else self._end  # the window is first … last - 1
        was = before if first <= old < last else None
        now = after if first <= new < last else None
        if was is not None and now is not None:
            moved = [Step(op="move", id=name, index=new - first)] if old != new else []
            changed = change(was, now)
            return moved if changed is None else [*moved, changed]

        # All other rows shift by at most one, so only the first or last of the window can leave or enter.
        edges = {first, last - 1} if first < last else set()
        steps = [] if was is None else [leave(was, version)]
        for index in edges - {old}:
            at = _shifted(index, old, new)
            if index < length and not first <= at < last:
                steps.append(leave(rows[at], rows[at].version))
        steps += [
            enter(rows[index], index - first)
            for index in edges - {new}
            if index < len(rows) and not first <= _shifted(index, new, old) < last
        ]
        if now is not None:
            steps.append(enter(now, new - first))
        return steps

    def _too_many(self) -> SubscriptionFailed:
        return SubscriptionFailed(f"more than {self._limit} rows: narrow the query, or give it a limit")


def _shifted(index: int, taken: int, put: int) -> int:
    """New index of the row at ``index`` after one row was removed and one inserted; -1: none."""
    index -= 0 <= taken < index
    return index + (0 <= put <= index)
