"""Custom events of one process."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from secrets import token_hex
from typing import Any, NamedTuple

import msgspec

from collab.dates import iso
from collab.event import read_cursor, write_cursor
from collab.realtime.listeners import ignore
from collab.realtime.topics.emitted import Emitted, EmittedEvent
from collab.realtime.topics.kept_events import Emission, EventName, EventsSince, SentEvent, sent_event

KEPT_EVENTS = 1000
KEPT_BYTES = 1024 * 1024
KEPT_BYTES_OF_ALL = 64 * 1024 * 1024

_encoder = msgspec.json.Encoder()


class KeptInMemory:
    """Numbers the events of all projects together. ``epoch`` identifies the process in cursors."""

    def __init__(self, *, epoch: str | None = None) -> None:
        self.epoch = token_hex(8) if epoch is None else epoch
        self._number = 0
        self._rings = _Rings()
        self._emitted = Emitted()
        self._hear: Callable[[str, SentEvent], None] = lambda project, sent: None

    def connect(self, hear: Callable[[str, SentEvent], None], missed: Callable[[str], None]) -> None:
        """Call ``hear`` with each event. None is missed here."""
        self._hear = hear

    def emit(self, project: str, event: dict[str, Any], now: float, name: EventName | None) -> Emission:
        """Send an event before this returns."""
        at = iso(now)
        if name is not None:
            known = self._emitted.once(project, name.caller, name.name, EmittedEvent(name.digest, at, now))
            if known is not None:
                return Emission({**event, "at": known})
        event["at"] = at
        self._number += 1
        sent = sent_event(event, self.epoch, self._number)
        self._rings.add(project, _Kept(sent, len(_encoder.encode(event))))
        self._hear(project, sent)
        return Emission(event)

    def hold(self, project: str) -> Callable[[], None]:
        """Nothing needs to be held here."""
        return ignore

    def cursor(self, project: str) -> str:
        """The cursor that stands for all events."""
        return write_cursor(self.epoch, self._number)

    async def since(self, project: str, cursor: str | None) -> EventsSince:
        """The events after a cursor."""
        if cursor is None:
            return EventsSince([], self.epoch, self._number, recovered=True)
        number = read_cursor(self.epoch, cursor)
        if number is None:
            return EventsSince([], self.epoch, self._number, recovered=False)
        events, recovered = self._rings.since(project, min(number, self._number))
        return EventsSince(events, self.epoch, self._number, recovered)

    async def close(self) -> None:
        """Nothing is open here."""

    @property
    def names(self) -> int:
        """The number of idempotency keys that are remembered."""
        return len(self._emitted)


class _Kept(NamedTuple):
    sent: SentEvent
    size: int


class _Ring:
    """The newest events of one project. All events after ``floor`` are present."""

    __slots__ = ("bytes", "events", "floor")

    def __init__(self, floor: int) -> None:
        self.events: deque[_Kept] = deque()
        self.bytes = 0
        self.floor = floor

    def forget_oldest(self) -> int:
        oldest = self.events.popleft()
        self.bytes -= oldest.size
        self.floor = oldest.sent.number
        return oldest.size


class _Rings:
    """The newest events of all projects, with limits per project and in total."""

    def __init__(self) -> None:
        self._rings: OrderedDict[str, _Ring] = OrderedDict()  # least recently active first
        self._bytes = 0
        self._floor = 0  # of projects without kept events

    def add(self, project: str, kept: _Kept) -> None:
        ring = self._rings.pop(project, None)
        if ring is None:
            ring = _Ring(self._floor)
        self._rings[project] = ring
        ring.events.append(kept)
        ring.bytes += kept.size
        self._bytes += kept.size
        while len(ring.events) > KEPT_EVENTS or ring.bytes > KEPT_BYTES:
            self._bytes -= ring.forget_oldest()
        while self._bytes > KEPT_BYTES_OF_ALL:
            _, forgotten = self._rings.popitem(last=False)
            self._bytes -= forgotten.bytes
            self._floor = max(self._floor, forgotten.events[-1].sent.number)

    def since(self, project: str, after: int) -> tuple[list[SentEvent], bool]:
        ring = self._rings.get(project)
        if ring is None:
            return [], after >= self._floor
        return [kept.sent for kept in ring.events if kept.sent.number > after], after >= ring.floor
