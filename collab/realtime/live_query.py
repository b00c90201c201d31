"""One live query: the rows of its window, and what an event does to them. It waits for nothing and asks nobody.

It holds the first rows of the query's order: those that ``offset`` leaves out, the window, and some behind it (the
buffer), so that a row that leaves can be replaced without asking the storage. ``_horizon`` is how far it knows all
rows: what sorts behind it is not held, and is read (:meth:`LiveQuery.load`) when the buffer has run dry.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence, Set
from dataclasses import replace
from operator import attrgetter
from typing import Any

from collab.errors import SubscriptionFailed
from collab.event import EntityEvent
from collab.query.match import behind, compile_where, conjoin, sort_key
from collab.query.query import Query
from collab.realtime.rows import Row, change, difference, enter, leave
from collab.storage.base import FoundRows
from collab.wire.realtime import Step

MAX_ROWS = 10_000
"""Rows that a live query may have, with those that its ``offset`` leaves out."""
SPARE = 10
"""Rows that are held behind a window, and a quarter of its ``limit``; a hundred at most."""

_key = attrgetter("key")


class LiveQuery:
    """Rows of one query, kept as they are by events. The first thing to do is :meth:`load`.

    Raises :class:`SubscriptionFailed` for a window that ends behind ``max_rows``.
    """

    __slots__ = (
        "_buffer",
        "_by_id",
        "_end",
        "_first",
        "_horizon",
        "_limit",
        "_matches",
        "_order",
        "_position",
        "_rows",
        "query",
    )

    def __init__(self, query: Query, *, max_rows: int = MAX_ROWS, spare: int = SPARE) -> None:
        self.query = query
        self._limit = max_rows
        self._first = query.offset
        self._end = None if query.limit is None else query.offset + query.limit
        if (self._first if self._end is None else self._end) > max_rows:
            raise SubscriptionFailed(f"a live query reaches {max_rows} rows, offset and limit together")
        self._buffer = 0 if query.limit is None else min(spare + query.limit // 4, 100)
        self._matches = compile_where(
            query.where if query.after is None else conjoin(query.where, behind(query.after, query.order_by))
        )
        self._order = sort_key(query.order_by)
        self._horizon: Any = None  # None: there are no rows but those that are held
        self._position = -1
        self._rows: list[Row] = []
        self._by_id: dict[str, Row] = {}

    @property
    def rows(self) -> Sequence[Row]:
        """The window, in order."""
        return self._rows[self._first : self._end]

    @property
    def held(self) -> Set[str]:
        """The ids of all rows that are held, as they are now: of the window, before and behind it."""
        return self._by_id.keys()

    @property
    def dry(self) -> bool:
        """Whether :meth:`load` is due. Until then the window may end early; all that is in it is right."""
        return self._horizon is not None and self._end is not None and len(self._rows) <= self._end

    @property
    def wanted(self) -> Query:
        """What to ask the storage for."""
        return replace(self.query, offset=0, limit=self._limit + 1 if self._end is None else self._end + self._buffer)

    def load(self, found: FoundRows, later: Iterable[EntityEvent] = ()) -> list[Step]:
        """Take the answer to :meth:`wanted`, and the events since it was asked; those that it knows are left out.

        Returns the steps from the old window to the new one, none the first time. Raises :class:`SubscriptionFailed`
        if it is too many rows.
        """
        before = self.rows if self._position >= 0 else None
        if self._end is None and len(found.rows) > self._limit:
            raise self._too_many()
        rows = [Row(self._order(row.data), row.data, row.version) for row in found.rows]
        rows.sort(key=_key)
        full = self._end is not None and len(rows) >= self._end + self._buffer
        self._rows = rows
        self._by_id = {row.data["id"]: row for row in rows}
        self._horizon = rows[-1].key if full and rows else None
        self._position = found.position
        for event in later:
            self.apply(event)
        return [] if before is None else difference(before, self.rows)

    def apply(self, event: EntityEvent) -> list[Step]:
        """What an event changes in the window: none, one, or two rows, each at most moved once.

        What the rows know already is ignored. Afterwards, ask :attr:`dry` and :meth:`trim`. Raises
        :class:`SubscriptionFailed` if it has become too many rows.
        """
        if event.position <= self._position:
            return []
        before = self._by_id.get(event.id)
        if before is not None and event.version <= before.version:
            return []
        after = None
        if event.type != "deleted" and self._matches(event.data):
            key = self._order(event.data)
            if self._horizon is None or not self._horizon < key:
                after = Row(key, event.data, event.version)
        if before is None and after is None:
            return []
        if before is None and self._end is None and len(self._rows) >= self._limit:
            raise self._too_many()
        return self._replace(event.id, before, after)

    def trim(self) -> list[str]:
        """Let go of rows far behind the window. Returns their ids."""
        if self._end is None or len(self._rows) <= self._end + 2 * self._buffer:
            return []
        keep = self._end + self._buffer
        ids = [row.data["id"] for row in self._rows[keep:]]
        del self._rows[keep:]
        for name in ids:
            del self._by_id[name]
        self._horizon = self._rows[-1].key
        return ids

    def _replace(self, name: str, before: Row | None, after: Row | None) -> list[Step]:
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

        # Of the others, only the first or the last of the window can have left it, or come in: all shift by one.
        edges = {first, last - 1} if first < last else set()
        steps = [] if was is None else [leave(was)]
        for index in edges - {old}:
            at = _shifted(index, old, new)
            if index < length and not first <= at < last:
                steps.append(leave(rows[at]))
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
    """Where the row at ``index`` stands once one was taken out and one was put in; -1: none was."""
    index -= 0 <= taken < index
    return index + (0 <= put <= index)
