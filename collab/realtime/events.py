"""Custom events: what applications tell each other beside the record. They are kept for a moment, not for ever."""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime
from secrets import token_hex
from time import time
from typing import Any, NamedTuple, Protocol

import msgspec

from collab.access.identity import Access, Identity
from collab.dates import iso
from collab.errors import InvalidRequest, PermissionDenied, TooLarge
from collab.names import RoomKey, is_part
from collab.realtime import channels
from collab.realtime.listeners import Listeners
from collab.realtime.system import SYSTEM_EVENTS
from collab.wire.realtime import MAX_DEPTH

COLLECTION = "events"
"""Rights on ``events/<type>`` are rights on custom events of that type."""
MOST_CHANNELS = 100
MAX_EVENT_BYTES = 64 * 1024
KEPT_EVENTS = 1000
KEPT_BYTES = 1024 * 1024
KEPT_BYTES_OF_ALL = 64 * 1024 * 1024

_encoder = msgspec.json.Encoder()


class Listener(Protocol):
    """A session that is sent custom events."""

    @property
    def identity(self) -> Identity:
        """Whose session it is."""

    @property
    def channels(self) -> Collection[str]:
        """The channels that it listens to now."""

    def custom(self, event: dict[str, Any], position: int) -> None:
        """Take an event, which is shared with others. Must not wait."""


class Recent(NamedTuple):
    """Events since a cursor, each with its position; ``recovered`` is false if there may have been more."""

    events: list[tuple[dict[str, Any], int]]
    recovered: bool


class CustomEvents:
    """Custom events of one process. ``epoch`` names the process in cursors."""

    def __init__(self, *, clock: Callable[[], float] = time, epoch: str | None = None) -> None:
        self.epoch = token_hex(8) if epoch is None else epoch
        self.position = 0
        self._clock = clock
        self._subscribers: dict[tuple[str, str], Listeners[_Sent]] = {}
        self._kept = _Kept()

    def subscribe(self, listener: Listener, type: str) -> Callable[[], None]:  # noqa: A002 - the protocol's word
        """Send ``listener`` events of a type from now on. Returns what ends that.

        Raises :class:`InvalidRequest`, and :class:`PermissionDenied` without the right to read ``events/<type>``.
        """
        check_subscribe(listener.identity, type)

        def hear(sent: _Sent) -> None:
            if sent.is_for(listener.channels):
                listener.custom(sent.event, sent.position)

        key = (listener.identity.project, type)
        subscribers = self._subscribers.setdefault(key, Listeners())
        remove = subscribers.add(hear)

        def close() -> None:
            remove()
            if not subscribers and self._subscribers.get(key) is subscribers:
                del self._subscribers[key]

        return close

    def emit(self, project: str, event: Mapping[str, Any], *, sender: Identity | None = None) -> dict[str, Any]:
        """Tell an event to those who have subscribed to its type, and listen to one of its ``channels`` if it has any.

        ``sender`` is the session that it comes from: its user is the event's ``userId``. Without one it comes from
        the server's own side. Returns the event as it was told, with ``at``. Raises :class:`InvalidRequest`,
        :class:`TooLarge`, and :class:`PermissionDenied` without the right to write ``events/<type>``.
        """
        told = read_event(event)
        if sender is not None:
            check_emit(sender, project, told["type"])
            if sender.verified and sender.user_id is not None:
                told["userId"] = sender.user_id
        told["at"] = iso(self._clock())
        size = _size(told)
        self.position += 1
        sent = _Sent(told, self.position, told["type"], frozenset(told.get("channels", ())), size)
        self._kept.add(project, sent)
        subscribers = self._subscribers.get((project, sent.type))
        if subscribers is not None:
            subscribers.tell(sent)
        return told

    def cursor(self, position: int | None = None) -> str:
        """A position, by default that of the newest event, as clients keep it."""
        return f"{self.epoch}.{self.position if position is None else position}"

    def parse(self, cursor: str) -> int | None:
        """The position of a cursor; ``None`` if it is of another process, or none at all."""
        epoch, dot, position = cursor.rpartition(".")
        if not dot or epoch != self.epoch or not (position.isascii() and position.isdigit() and len(position) <= 18):
            return None
        return min(int(position), self.position)

    def recent(self, listener: Listener, type: str, cursor: str) -> Recent:  # noqa: A002
        """What ``listener`` would have been sent of a type since ``cursor``, with the channels that it has now."""
        check_subscribe(listener.identity, type)
        after = self.parse(cursor)
        if after is None:
            return Recent([], recovered=False)
        sent, recovered = self._kept.since(listener.identity.project, after)
        mine = [(one.event, one.position) for one in sent if one.type == type and one.is_for(listener.channels)]
        return Recent(mine, recovered)


def check_subscribe(identity: Identity, type: str) -> None:  # noqa: A002
    """Raise the errors of :meth:`CustomEvents.subscribe`."""
    _check_type(type)
    if identity.access_to(RoomKey(identity.project, COLLECTION, type)) < Access.READ:
        raise PermissionDenied("events of this type may not be read", event=type)


def check_emit(identity: Identity, project: str, type: str) -> None:  # noqa: A002
    """Raise :class:`PermissionDenied` unless ``identity`` may emit events of this type there."""
    if identity.access_to(RoomKey(project, COLLECTION, type)) < Access.WRITE:
        raise PermissionDenied("events of this type may not be emitted", event=type)


def read_event(event: Mapping[str, Any]) -> dict[str, Any]:
    """A custom event as JSON values, checked; points in time become RFC 3339.

    Raises :class:`InvalidRequest` and :class:`TooLarge`.
    """
    plain = _plain(event, 1)
    if not isinstance(plain, dict):
        raise InvalidRequest("an event is an object")
    _check_type(plain.get("type"))
    if "channels" in plain:
        names = plain["channels"]
        if not isinstance(names, list) or len(names) > MOST_CHANNELS:
            raise InvalidRequest(f"channels is a list of {MOST_CHANNELS} names at most")
        if not all(isinstance(name, str) and 0 < len(name) <= channels.LONGEST for name in names):
            raise InvalidRequest(f"a channel's name is a text of 1-{channels.LONGEST} characters")
    if _size(plain) > MAX_EVENT_BYTES:
        raise TooLarge("the event is too large", limit=MAX_EVENT_BYTES)
    return plain


def _check_type(type: Any) -> None:  # noqa: A002
    if not isinstance(type, str) or not is_part(type):
        raise InvalidRequest("the type of an event is a text of 1-128 characters of [A-Za-z0-9_.:-]")
    if type in SYSTEM_EVENTS:
        raise InvalidRequest(f"{type} is a system event", event=type)


def _plain(value: Any, depth: int) -> Any:
    match value:
        case bool() | None:
            return value
        case int() if -(2**63) <= value < 2**64:
            return value
        case float() if math.isfinite(value):
            return value
        case str():
            if not value.isascii():
                _check_text(value)
            return value
        case datetime():
            return _moment(value)
        case date():
            return value.isoformat()
        case Mapping() | list() | tuple() if depth > MAX_DEPTH:
            raise InvalidRequest(f"an event is at most {MAX_DEPTH} deep")
        case Mapping():
            return {_member(name): _plain(inner, depth + 1) for name, inner in value.items()}
        case list() | tuple():
            return [_plain(inner, depth + 1) for inner in value]
    raise InvalidRequest(f"an event holds JSON values, and no {type(value).__name__} like this")


def _moment(value: datetime) -> str:
    try:
        return iso(value.timestamp())
    except (ValueError, OverflowError):
        raise InvalidRequest("a point in time that no calendar has") from None


def _member(name: Any) -> str:
    if not isinstance(name, str):
        raise InvalidRequest("the members of an object have texts as names")
    _check_text(name)
    return name


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidRequest("a text that is not Unicode") from None


def _size(event: dict[str, Any]) -> int:
    return len(_encoder.encode(event))


class _Sent(NamedTuple):
    event: dict[str, Any]
    position: int
    type: str
    channels: frozenset[str]
    size: int

    def is_for(self, listening: Collection[str]) -> bool:
        return not self.channels or any(name in listening for name in self.channels)


class _Ring:
    """The newest events of one project. All after ``floor`` are there."""

    __slots__ = ("bytes", "events", "floor")

    def __init__(self, floor: int) -> None:
        self.events: deque[_Sent] = deque()
        self.bytes = 0
        self.floor = floor

    def forget_oldest(self) -> int:
        oldest = self.events.popleft()
        self.bytes -= oldest.size
        self.floor = oldest.position
        return oldest.size


class _Kept:
    """The newest events of all projects, so many of each, and the bytes of all bounded."""

    def __init__(self) -> None:
        self._rings: OrderedDict[str, _Ring] = OrderedDict()  # the one longest silent first
        self._bytes = 0
        self._floor = 0  # of projects of which nothing is kept

    def add(self, project: str, sent: _Sent) -> None:
        ring = self._rings.pop(project, None)
        if ring is None:
            ring = _Ring(self._floor)
        self._rings[project] = ring
        ring.events.append(sent)
        ring.bytes += sent.size
        self._bytes += sent.size
        while len(ring.events) > KEPT_EVENTS or ring.bytes > KEPT_BYTES:
            self._bytes -= ring.forget_oldest()
        while self._bytes > KEPT_BYTES_OF_ALL:
            _, forgotten = self._rings.popitem(last=False)
            self._bytes -= forgotten.bytes
            self._floor = max(self._floor, forgotten.events[-1].position)

    def since(self, project: str, after: int) -> tuple[list[_Sent], bool]:
        ring = self._rings.get(project)
        if ring is None:
            return [], after >= self._floor
        return [sent for sent in ring.events if sent.position > after], after >= ring.floor
