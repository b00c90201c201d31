"""One live aggregate: its groups, and the effect of an event on them. Pure.

An event says what a row was before, so counts and exact sums are adjusted without knowing the rows. Of ``min`` and
``max`` the outermost values are known; when the last of them has gone, others are read (:meth:`LiveAggregate.load`).
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, NamedTuple

from msgspec.structs import replace

from collab.errors import SubscriptionFailed
from collab.event import EntityEvent
from collab.json_values import same
from collab.query.aggregate import (
    MAX_GROUPS,
    Aggregation,
    Contribution,
    GroupTally,
    add_row,
    empty,
    group_id,
    group_row,
    order_of_group,
    ordered,
    rank,
    sharer,
)
from collab.query.match import compile_query, conjoin, equal_to, has_order, lookup, paths_of
from collab.query.query import EVERYTHING, Condition, Order, Path, Query, Scalar, SortKey
from collab.query.search import finds_contents
from collab.realtime.matching.query_window import SPARE
from collab.realtime.matching.row_steps import WindowRow, difference
from collab.records.entity_view import data_before, is_of_contents
from collab.storage.base import FoundGroups, FoundRows
from collab.wire.realtime.values import Step

_ONE_BY_ONE = 4  # more groups that lost their last known value are read together, with all others
_UNTOLD = "updatedAt"  # events do not say its previous value


class LiveAggregate:
    """The groups of one aggregate, kept current by events. Call :meth:`load` first.

    ``spare`` outermost values are read when the last known one has gone. An aggregate of ``updatedAt`` is read again
    after each event of its collection; and one that searches what documents say, which events do not tell, after those
    that may change what is found. Raises :class:`SubscriptionFailed` for too many groups.
    """

    def __init__(self, aggregation: Aggregation, *, max_groups: int = MAX_GROUPS, spare: int = SPARE) -> None:
        self.aggregation = aggregation
        self._most = max_groups
        self._spare = spare
        self._by_contents = aggregation.search is not None and finds_contents(aggregation.search.paths)
        rows = aggregation.rows
        self._matches = compile_query(dataclasses.replace(rows, search=None) if self._by_contents else rows)
        self._share = sharer(aggregation)
        searched = aggregation.search.paths if aggregation.search is not None else ()
        self._members = {path[0] for path in (*aggregation.paths, *paths_of(aggregation.where), *searched)}
        self._rereads = _UNTOLD in self._members
        self._stale = False
        self._position = -1
        self._groups: dict[str, _Group] = {}
        self._shown: list[tuple[tuple[Any, ...], str]] = []  # sorted
        self._lost: dict[_Place, None] = {}
        self._asked: _Place | None = None

    @property
    def rows(self) -> Sequence[WindowRow]:
        """The groups, in order, as the caller receives them."""
        return [WindowRow(key, self._groups[name].shown, 0) for key, name in self._shown]

    @property
    def held(self) -> Set[str]:
        """No rows: events find it by the values of a row, before and after."""
        return frozenset()

    def holds(self, name: str) -> bool:
        """Whether it holds a row: never."""
        return False

    @property
    def indexed(self) -> Condition:
        """The condition by which events find it."""
        return EVERYTHING if self._rereads else self.aggregation.where

    @property
    def dry(self) -> bool:
        """Whether :meth:`load` is due. Until then some groups are as they were."""
        return self._stale or bool(self._lost)

    def ask(self) -> Aggregation | Query:
        """Return what :meth:`load` needs next: everything, or the outermost values of one group."""
        if self._position < 0 or self._stale or len(self._lost) > _ONE_BY_ONE:
            self._asked = None
            return self.aggregation
        place = self._asked = next(iter(self._lost))
        key = self._groups[place.group].key
        path = self._path(place)
        same_group = map(equal_to, self.aggregation.group_by, key)
        where = conjoin(self.aggregation.where, *same_group, has_order(path))
        return Query(where, (Order(path, place.highest),), self._spare, search=self.aggregation.search)

    def load(self, found: FoundGroups | FoundRows, later: Iterable[EntityEvent] = ()) -> list[Step]:
        """Process the answer to :meth:`ask`, and the events since it was asked; those it includes are ignored.

        Returns the steps from the old groups to the new ones, none the first time. Raises :class:`SubscriptionFailed`
        for too many groups.
        """
        if isinstance(found, FoundRows):
            return self._refill(found, later)
        before = self.rows if self._position >= 0 else None
        self._groups = {group_id(group.key): _Group(group, self._spare) for group in found.groups}
        self._shown, self._lost, self._stale = [], {}, False
        self._position = found.position
        for name in self._groups:
            self._show(name)
        for event in later:
            self.apply(event)
        return [] if before is None else [replace(step, version=None) for step in difference(before, self.rows)]

    def apply(self, event: EntityEvent) -> list[Step]:
        """Return the effect of an event: at most a step for the row's old group and one for its new one.

        Raises :class:`SubscriptionFailed` for too many groups.
        """
        if event.position <= self._position:
            return []
        self._position = event.position
        if self._rereads:
            self._stale = True
            return []
        changes_contents = self._by_contents and any(map(is_of_contents, event.changes.values()))
        if event.type == "updated" and self._members.isdisjoint(event.changes) and not changes_contents:
            return []
        old, new = self._shares(event)
        if self._by_contents:
            self._stale = self._stale or old is not None or new is not None
            return []
        if old == new and (old is None or new is None or all(map(same, old.key, new.key))):  # True is equal to 1
            return []
        steps: list[Step] = []
        entered = None if new is None else group_id(new.key)
        if old is not None and (left := self._take(old, event.position)) != entered:
            steps += self._show(left)  # an empty group makes room for a new one
        if new is not None:
            steps += self._show(self._put(new, event.position))
        return steps

    def trim(self) -> list[str]:
        """It holds no rows."""
        return []

    # values

    def _shares(self, event: EntityEvent) -> tuple[Contribution | None, Contribution | None]:
        """What the event's row added before, and what it adds now."""
        known = event.type in ("updated", "deleted")
        old = self._share_of(data_before(event)) if known else None
        return old, None if event.type == "deleted" else self._share_of(event.data)

    def _share_of(self, row: Mapping[str, Any]) -> Contribution | None:
        return self._share(row) if self._matches(row) else None

    def _take(self, share: Contribution, position: int) -> str:
        name = group_id(share.key)
        group = self._groups[name]
        group.rows -= 1
        group.sums = add_row(group.sums, share.numbers, -1)
        for end, value in group.ends(share, position):
            end.remove(value)
        return name

    def _put(self, share: Contribution, position: int) -> str:
        name = group_id(share.key)
        group = self._groups.get(name)
        if group is None:
            if len(self._groups) >= self._most:
                raise SubscriptionFailed(f"more than {self._most:,} groups: narrow where, or group by fewer members")
            group = self._groups[name] = _Group(empty(self.aggregation, share.key), self._spare)
        group.rows += 1
        group.sums = add_row(group.sums, share.numbers, 1)
        for end, value in group.ends(share, position):
            end.add(value)
        return name

    def _path(self, place: _Place) -> Path:
        return (self.aggregation.max if place.highest else self.aggregation.min)[place.at]

    def _refill(self, found: FoundRows, later: Iterable[EntityEvent]) -> list[Step]:
        place = self._asked
        assert place is not None
        if place not in self._lost:  # its group is gone, or everything was read meanwhile
            return []
        end = self._groups[place.group].end(place)
        path = self._path(place)
        values = [ordered(lookup(row.data, path)) for row in found.rows]
        end.load(values, found.position, complete=len(values) < self._spare)
        for event in later:
            if event.position <= found.position:
                continue
            old, new = self._shares(event)
            if old is not None and group_id(old.key) == place.group:
                end.remove(place.of(old))
            if new is not None and group_id(new.key) == place.group:
                end.add(place.of(new))
        return self._show(place.group)

    # what is shown

    def _show(self, name: str) -> list[Step]:
        """Bring what is shown of a group up to date, unless a value of it is still to be read."""
        group = self._groups[name]
        at = (order_of_group(group.key), name)
        places = group.places(name)
        for place in places:
            self._lost.pop(place, None)
        if group.rows == 0 and self.aggregation.group_by:
            del self._groups[name]
            if not group.shown:
                return []
            self._shown.remove(at)
            return [Step(op="leave", id=name)]
        lost = [place for place in places if group.end(place).lost]
        if lost:
            self._lost.update(dict.fromkeys(lost))
            return []
        before, group.shown = group.shown, group_row(self.aggregation, group.tally())
        if not before:
            index = bisect_left(self._shown, at)
            self._shown.insert(index, at)
            return [Step(op="enter", id=name, index=index, data=group.shown)]
        changed = {member: value for member, value in group.shown.items() if not same(before[member], value)}
        return [Step(op="change", id=name, set=changed)] if changed else []


class _Place(NamedTuple):
    """One ``min`` or ``max`` of one group."""

    group: str
    highest: bool
    at: int

    def of(self, share: Contribution) -> Scalar:
        return (share.highs if self.highest else share.lows)[self.at]


class _Group:
    """``shown`` is what the caller knows, empty at first."""

    __slots__ = ("_highs", "_lows", "key", "rows", "shown", "sums")

    def __init__(self, group: GroupTally, spare: int) -> None:
        self.key: tuple[SortKey, ...] = group.key
        self.rows = group.rows
        self.sums = group.sums
        self.shown: dict[str, Any] = {}
        self._lows = [_End(value, spare, highest=False, alone=group.rows <= 1) for value in group.lows]
        self._highs = [_End(value, spare, highest=True, alone=group.rows <= 1) for value in group.highs]

    def end(self, place: _Place) -> _End:
        return (self._highs if place.highest else self._lows)[place.at]

    def ends(self, share: Contribution, position: int) -> list[tuple[_End, Scalar]]:
        """The ends that do not include an event, with a row's values for them."""
        lows, highs = zip(self._lows, share.lows, strict=True), zip(self._highs, share.highs, strict=True)
        return [(end, value) for end, value in (*lows, *highs) if position > end.position]

    def places(self, name: str) -> list[_Place]:
        lows = [_Place(name, False, index) for index in range(len(self._lows))]
        return lows + [_Place(name, True, index) for index in range(len(self._highs))]

    def tally(self) -> GroupTally:
        lows, highs = (tuple(end.value for end in ends) for ends in (self._lows, self._highs))
        return GroupTally(self.key, self.rows, self.sums, lows, highs)


class _End:
    """The outermost values of a member in a group: the lowest, or the highest. ``None`` is no value."""

    __slots__ = ("_complete", "_highest", "_known", "_spare", "position")

    def __init__(self, value: Scalar, spare: int, *, highest: bool, alone: bool) -> None:
        self.position = -1  # later events, if it was read apart from its group
        self._spare = spare
        self._highest = highest
        self._complete = value is None or alone  # no others are farther inside
        self._known: list[tuple[int, Any]] = [] if value is None else [rank(value)]  # ascending

    @property
    def lost(self) -> bool:
        """Whether there may be values, and none of them is known."""
        return not self._known and not self._complete

    @property
    def value(self) -> Scalar:
        if not self._known:
            return None
        value: Scalar = self._known[-1 if self._highest else 0][1]
        return value

    def load(self, values: Iterable[Scalar], position: int, *, complete: bool) -> None:
        self.position = position
        self._known = sorted(rank(value) for value in values if value is not None)
        self._complete = complete

    def add(self, value: Scalar) -> None:
        if value is None or self.lost:
            return
        key = rank(value)
        if not self._complete and (key < self._known[0] if self._highest else key > self._known[-1]):
            return
        insort(self._known, key)
        if len(self._known) > 2 * self._spare:
            self._known = self._known[-self._spare :] if self._highest else self._known[: self._spare]
            self._complete = False

    def remove(self, value: Scalar) -> None:
        if value is None:
            return
        key = rank(value)
        at = bisect_left(self._known, key)
        if at < len(self._known) and self._known[at] == key:
            del self._known[at]
