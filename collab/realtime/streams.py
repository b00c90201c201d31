"""What waits for a subscription when its events may not be sent at once: few messages of many, in bounded memory.

A stream that holds too much lets go of all of it, and says so through ``full``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from collab.event import EntityEvent
from collab.realtime.entity_view import conflate
from collab.realtime.outbox import Frame
from collab.wire.realtime import Event, People, Person, Step

MOST_WHOLE = 2000
"""Events of one subscription that wait each for itself."""

Full = Callable[[], None]
Told = TypeVar("Told")


class _Held(NamedTuple):
    first: int  # position of the oldest event in it
    event: EntityEvent
    permissions: dict[str, bool] | None


class EntityStream:
    """Events of entities, one for each: ``encode`` makes the message, ``cursor`` the text of a position.

    While a subscription is opened, and until that is sent, they stay what they are.
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
        self.position = position  # up to which everything was sent
        self._newest = position
        self._sub = sub
        self._encode = encode
        self._cursor = cursor
        self._full = full
        self._limit = limit
        self._line: deque[_Held] = deque()  # each for itself, before all others
        self._held: dict[str, _Held] = {}  # the one that waits longest first
        self._size = 0

    def __bool__(self) -> bool:
        return bool(self._line) or bool(self._held)

    def replay(self, after: int, events: Sequence[tuple[EntityEvent, dict[str, bool] | None]]) -> None:
        """Send these, which come before all that waits, to a subscriber who has everything up to ``after``."""
        self.position = after
        self._line.extendleft(_Held(event.position, event, permissions) for event, permissions in reversed(events))

    def add(self, event: EntityEvent, permissions: dict[str, bool] | None, *, whole: bool = False) -> None:
        """Keep an event until its time has come, with others of its entity, or ``whole``, for itself."""
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
        """The message about the entity that waits longest.

        Its cursor is that of the newest event that was sent, but never ahead of what still waits: whoever resumes from
        it is sent that.
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
        """Let go of everything."""
        self._line.clear()
        self._held.clear()
        self._size = 0


class QueueStream(Generic[Told]):
    """Things that cannot be made fewer: they are sent late, and in order."""

    __slots__ = ("_encode", "_full", "_limit", "_queue")

    def __init__(self, encode: Callable[[Told], Frame], full: Full, limit: int = 1000) -> None:
        self._encode = encode
        self._full = full
        self._limit = limit
        self._queue: deque[Told] = deque()

    def __bool__(self) -> bool:
        return bool(self._queue)

    def add(self, told: Told) -> None:
        """Keep one more."""
        if len(self._queue) >= self._limit:
            self.clear()
            self._full()
        else:
            self._queue.append(told)

    def take(self) -> Frame | None:
        """The oldest."""
        return self._encode(self._queue.popleft()) if self._queue else None

    def clear(self) -> None:
        """Let go of everything."""
        self._queue.clear()


class LatestStream(Generic[Told]):
    """Of which only the newest is worth sending."""

    __slots__ = ("_encode", "_latest")

    def __init__(self, encode: Callable[[Told], Frame]) -> None:
        self._encode = encode
        self._latest: list[Told] = []

    def __bool__(self) -> bool:
        return bool(self._latest)

    def add(self, told: Told) -> None:
        """Keep this one."""
        self._latest = [told]

    def take(self) -> Frame | None:
        """The newest."""
        return self._encode(self._latest.pop()) if self._latest else None

    def clear(self) -> None:
        """Let go of it."""
        self._latest.clear()


class PeopleStream:
    """Changes of who is in a room, added up. ``encode`` fills in the subscriptions."""

    __slots__ = ("_complete", "_count", "_encode", "_left", "_people", "_waits")

    def __init__(self, encode: Callable[[People], Frame]) -> None:
        self._encode = encode
        self.clear()

    def __bool__(self) -> bool:
        return self._waits

    def add(self, crowd: People) -> None:
        """Keep a change."""
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
        """All that changed."""
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
        """Let go of everything."""
        self._waits = self._complete = False
        self._count = 0
        self._people: dict[str, Person] = {}
        self._left: dict[str, None] = {}


class RowsStream:
    """Steps of a live query in one message, or all its rows.

    Too many steps are forgotten; when their time has come ``full`` asks for the rows instead.
    """

    __slots__ = ("_asked", "_data_of", "_encode_rows", "_encode_steps", "_full", "_limit", "_rows", "_stale", "_steps")

    def __init__(
        self,
        encode_steps: Callable[[Sequence[Step]], Frame | None],
        encode_rows: Callable[[list[dict[str, Any]], list[int]], Frame],
        full: Full,
        limit: int = 1000,
    ) -> None:
        self._encode_steps = encode_steps
        self._encode_rows = encode_rows
        self._full = full
        self._limit = limit
        self._rows: tuple[list[dict[str, Any]], list[int]] | None = None
        self._steps: list[Step] = []
        self._data_of: dict[str, int] = {}  # id -> index of the step that a further change can be told with
        self._stale = False
        self._asked = False

    def __bool__(self) -> bool:
        return self._rows is not None or bool(self._steps) or (self._stale and not self._asked)

    @property
    def stale(self) -> bool:
        """Whether the rows are to be told anew, and steps say nothing until then."""
        return self._stale

    def steps(self, steps: Sequence[Step]) -> None:
        """Keep steps, behind those that wait."""
        if self._stale:
            return
        for step in steps:
            at = self._data_of.get(step.id)
            if step.op == "change" and at is not None:
                self._steps[at] = _merged(self._steps[at], step)
                continue
            if step.op in ("enter", "change"):
                self._data_of[step.id] = len(self._steps)
            elif step.op == "leave":
                self._data_of.pop(step.id, None)
            self._steps.append(step)
        if len(self._steps) > self._limit:
            self.clear()
            self._stale = True

    def reset(self, rows: list[dict[str, Any]], versions: list[int]) -> None:
        """Keep all rows instead of what waits."""
        self.clear()
        self._rows = (rows, versions)

    def take(self) -> Frame | None:
        """Rows if they are to be told, else all steps."""
        if self._rows is not None:
            rows, self._rows = self._rows, None
            return self._encode_rows(*rows)
        if self._stale and not self._asked:
            self._asked = True
            self._full()
        if not self._steps:
            return None
        steps = self._steps
        self.clear()
        return self._encode_steps(steps)

    def clear(self) -> None:
        """Let go of everything."""
        self._rows = None
        self._steps = []
        self._data_of = {}
        self._stale = self._asked = False


def _merged(older: Step, newer: Step) -> Step:
    """A change made part of the change, or the entry, that comes before it."""
    gone = frozenset(newer.unset or ())
    if older.op == "enter":
        data = {name: value for name, value in {**(older.data or {}), **(newer.set or {})}.items() if name not in gone}
        return msgspec.structs.replace(older, data=data, version=newer.version or older.version)
    values = {name: value for name, value in {**(older.set or {}), **(newer.set or {})}.items() if name not in gone}
    unset = tuple(dict.fromkeys(name for name in (*(older.unset or ()), *gone) if name not in values))
    return msgspec.structs.replace(
        older, set=values or None, unset=unset or None, version=newer.version or older.version
    )
