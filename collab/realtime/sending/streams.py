"""Waiting events of one subscription, merged into few messages, in bounded memory.

A stream that exceeds its limit drops everything and calls ``full``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from collab.event import EntityEvent
from collab.realtime.listeners import ignore
from collab.records.entity_view import conflate
from collab.wire.realtime.encoding import Frame
from collab.wire.realtime.messages import Event, People
from collab.wire.realtime.values import Included, IncludedSteps, Person, Step

MOST_WHOLE = 2000
"""Maximum number of unmerged events that wait in one subscription."""

Full = Callable[[], None]
WaitingT = TypeVar("WaitingT")


class _Held(NamedTuple):
    first: int  # position of the oldest event in it
    event: EntityEvent
    permissions: dict[str, bool] | None


class EntityStream:
    """Entity events, merged per entity. ``encode`` builds the message, ``cursor`` formats a position.

    Events that arrive while the subscription is being opened are not merged until it has been confirmed.
    """

    __slots__ = ("_cursor", "_encode", "_full", "_held", "_limit", "_line", "_newest", "_size", "_sub", "position")

    def __init__(
        self,
        sub: int,
        position: int,
        *,
        encode: Callable[[Event], Frame],
        cursor: Callable[[int], str],
        full: Full,
        limit: int = 10_000,
    ) -> None:
        self.position = position  # everything up to here was sent
        self._newest = position
        self._sub = sub
        self._encode = encode
        self._cursor = cursor
        self._full = full
        self._limit = limit
        self._line: deque[_Held] = deque()  # unmerged, sent before all others
        self._held: dict[str, _Held] = {}  # longest-waiting first
        self._size = 0

    def __bool__(self) -> bool:
        return bool(self._line) or bool(self._held)

    def replay(self, after: int, events: Sequence[tuple[EntityEvent, dict[str, bool] | None]]) -> None:
        """Queue missed events before everything else, for a subscriber that has everything up to ``after``."""
        self.position = after
        self._line.extendleft(_Held(event.position, event, permissions) for event, permissions in reversed(events))

    def add(self, event: EntityEvent, permissions: dict[str, bool] | None, *, whole: bool = False) -> None:
        """Queue an event, merged with others of its entity, or ``whole``, unmerged."""
        if not self._held and (whole or self._line) and len(self._line) < MOST_WHOLE:
            self._line.append(_Held(event.position, event, permissions))
            return
        held = self._held.get(event.id)
        if held is None:
            self._held[event.id] = _Held(event.position, event, permissions)
            self._size += 1 + len(event.conflicts)
        else:
            merged = conflate(held.event, event)
            self._held[event.id] = _Held(held.first, merged, permissions)
            self._size += len(merged.conflicts) - len(held.event.conflicts)
        if self._size > self._limit:
            self.clear()
            self._full()

    def take(self) -> Frame | None:
        """Return the message for the entity that has waited longest.

        Its cursor is that of the newest event sent, but never beyond an event that still waits: a client that resumes
        from it receives that event.
        """
        if self._line:
            held = self._line.popleft()
        elif self._held:
            held = self._held.pop(next(iter(self._held)))
            self._size -= 1 + len(held.event.conflicts)
        else:
            return None
        self._newest = max(self._newest, held.event.position)
        waits = self._line[0] if self._line else next(iter(self._held.values()), None)
        self.position = max(self.position, self._newest if waits is None else min(self._newest, waits.first - 1))
        return self._encode(
            Event(
                subs=(self._sub,),
                cursor=self._cursor(self.position),
                event=held.event,
                permissions=held.permissions,
            )
        )

    def clear(self) -> None:
        """Drop everything."""
        self._line.clear()
        self._held.clear()
        self._size = 0

    def close(self) -> None:
        """Drop everything, and cut the references to the subscription."""
        self.clear()
        self._full = ignore


class QueueStream(Generic[WaitingT]):
    """Values that cannot be merged: sent late, and in order."""

    __slots__ = ("_encode", "_full", "_limit", "_queue")

    def __init__(self, encode: Callable[[WaitingT], Frame], full: Full, limit: int = 1000) -> None:
        self._encode = encode
        self._full = full
        self._limit = limit
        self._queue: deque[WaitingT] = deque()

    def __bool__(self) -> bool:
        return bool(self._queue)

    def add(self, told: WaitingT) -> None:
        """Queue a value."""
        if len(self._queue) >= self._limit:
            self.clear()
            self._full()
        else:
            self._queue.append(told)

    def take(self) -> Frame | None:
        """Return the oldest."""
        return self._encode(self._queue.popleft()) if self._queue else None

    def clear(self) -> None:
        """Drop everything."""
        self._queue.clear()

    def close(self) -> None:
        """Drop everything, and cut the references to the subscription."""
        self.clear()
        self._encode, self._full = _refuse, ignore


class LatestStream(Generic[WaitingT]):
    """Keeps only the newest value."""

    __slots__ = ("_encode", "_latest")

    def __init__(self, encode: Callable[[WaitingT], Frame]) -> None:
        self._encode = encode
        self._latest: list[WaitingT] = []

    def __bool__(self) -> bool:
        return bool(self._latest)

    def add(self, told: WaitingT) -> None:
        """Replace the value."""
        self._latest = [told]

    def take(self) -> Frame | None:
        """Return the newest."""
        return self._encode(self._latest.pop()) if self._latest else None

    def clear(self) -> None:
        """Drop it."""
        self._latest.clear()

    def close(self) -> None:
        """Drop it, and cut the reference to the subscription."""
        self.clear()
        self._encode = _refuse


class PeopleStream:
    """Presence changes of a room, merged. ``encode`` adds the subscriptions."""

    __slots__ = ("_complete", "_count", "_encode", "_left", "_people", "_waits")

    def __init__(self, encode: Callable[[People], Frame]) -> None:
        self._encode = encode
        self.clear()

    def __bool__(self) -> bool:
        return self._waits

    def add(self, crowd: People) -> None:
        """Merge a change."""
        if crowd.complete:
            self.clear()
            self._complete = True
        self._waits = True
        self._count = crowd.count
        for key in crowd.left:
            self._people.pop(key, None)
            if not self._complete:
                self._left[key] = None
        for person in crowd.people:
            self._left.pop(person.key, None)
            self._people[person.key] = person

    def take(self) -> Frame | None:
        """Return all changes."""
        if not self._waits:
            return None
        crowd = People(
            subs=(),
            count=self._count,
            people=list(self._people.values()),
            left=tuple(self._left),
            complete=self._complete,
        )
        self.clear()
        return self._encode(crowd)

    def clear(self) -> None:
        """Drop everything."""
        self._waits = self._complete = False
        self._count = 0
        self._people: dict[str, Person] = {}
        self._left: dict[str, None] = {}

    def close(self) -> None:
        """Drop everything, and cut the reference to the subscription."""
        self.clear()
        self._encode = _refuse


class AllRows(NamedTuple):
    """All rows of a live query, and what it includes."""

    rows: list[dict[str, Any]]
    versions: list[int]
    included: Mapping[str, Included] | None = None


class RowsStream:
    """Steps of a live query in one message, or all of its rows.

    Too many steps are dropped; when it is their turn, ``full`` requests all rows instead.
    """

    __slots__ = (
        "_asked",
        "_encode_rows",
        "_encode_steps",
        "_encoded",
        "_full",
        "_included",
        "_limit",
        "_rows",
        "_stale",
        "_steps",
    )

    def __init__(
        self,
        encode_steps: Callable[[Sequence[Step], Sequence[IncludedSteps]], Frame | None],
        encode_rows: Callable[[AllRows], Frame],
        full: Full,
        limit: int = 1000,
    ) -> None:
        self._encode_steps = encode_steps
        self._encode_rows = encode_rows
        self._full = full
        self._limit = limit
        self._rows: AllRows | None = None
        self._encoded: Frame | None = None
        self._steps = _MergedSteps()
        self._included: dict[tuple[str, str], _MergedSteps] = {}
        self._stale = False
        self._asked = False

    def __bool__(self) -> bool:
        waits = self._rows is not None or bool(self._steps.steps) or bool(self._included)
        return waits or (self._stale and not self._asked)

    @property
    def stale(self) -> bool:
        """Whether steps were dropped and all rows must be sent."""
        return self._stale

    def steps(self, steps: Sequence[Step], included: Sequence[IncludedSteps] = ()) -> None:
        """Append steps of the rows, and of the rows that are included."""
        if self._stale:
            return
        self._steps.add(steps)
        for each in included:
            of = each.relation, each.key
            if each.fresh or of not in self._included:
                self._included[of] = _MergedSteps(fresh=each.fresh)
            self._included[of].add(each.steps)
        if len(self._steps.steps) + sum(1 + len(each.steps) for each in self._included.values()) > self._limit:
            self.clear()
            self._stale = True

    def reset(self, rows: AllRows) -> None:
        """Replace everything with all rows."""
        self.clear()
        self._rows = rows

    @property
    def rows(self) -> AllRows | None:
        """The waiting rows."""
        return self._rows

    def encoded(self, rows: AllRows, frame: Frame) -> None:
        """``frame`` is the encoding of ``rows``; ignored unless these still wait."""
        if self._rows is rows:
            self._encoded = frame

    def take(self) -> Frame | None:
        """Return all rows if they wait, else all steps."""
        if self._rows is not None:
            rows, self._rows = self._rows, None
            frame, self._encoded = self._encoded, None
            return self._encode_rows(rows) if frame is None else frame
        if self._stale and not self._asked:
            self._asked = True
            self._full()
        steps, included = self._steps.steps, self._included
        if not steps and not included:
            return None
        self.clear()
        return self._encode_steps(
            steps,
            [
                IncludedSteps(relation=relation, key=key, steps=each.steps, fresh=each.fresh)
                for (relation, key), each in included.items()
            ],
        )

    def clear(self) -> None:
        """Drop everything."""
        self._rows = self._encoded = None
        self._steps = _MergedSteps()
        self._included = {}
        self._stale = self._asked = False

    def close(self) -> None:
        """Drop everything, and cut the references to the subscription."""
        self.clear()
        self._encode_steps = self._encode_rows = _refuse
        self._full = ignore


class _MergedSteps:
    """Steps of one list of rows; several changes of a row are one. ``fresh``: from an empty list."""

    __slots__ = ("_data_of", "fresh", "steps")

    def __init__(self, *, fresh: bool = False) -> None:
        self.fresh = fresh
        self.steps: list[Step] = []
        self._data_of: dict[str, int] = {}  # id -> index of the step that later changes can be merged into

    def add(self, steps: Sequence[Step]) -> None:
        for step in steps:
            at = self._data_of.get(step.id)
            if step.op == "change" and at is not None:
                self.steps[at] = _merged(self.steps[at], step)
                continue
            if step.op in ("enter", "change"):
                self._data_of[step.id] = len(self.steps)
            elif step.op == "leave":
                self._data_of.pop(step.id, None)
            self.steps.append(step)


def _merged(older: Step, newer: Step) -> Step:
    """Merge a change into the earlier change or enter of the same row."""
    gone = frozenset(newer.unset or ())
    if older.op == "enter":
        data = {name: value for name, value in {**(older.data or {}), **(newer.set or {})}.items() if name not in gone}
        return msgspec.structs.replace(older, data=data, version=newer.version or older.version)
    values = {name: value for name, value in {**(older.set or {}), **(newer.set or {})}.items() if name not in gone}
    unset = tuple(dict.fromkeys(name for name in (*(older.unset or ()), *gone) if name not in values))
    return msgspec.structs.replace(
        older, set=values or None, unset=unset or None, version=newer.version or older.version
    )


def _refuse(*waiting: object) -> Frame:
    raise RuntimeError("the subscription has ended")
