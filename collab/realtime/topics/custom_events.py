"""Custom events: messages between applications, outside the record, kept only for a short time."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime
from secrets import token_hex
from time import time
from typing import Any, NamedTuple, Protocol

import msgspec

from collab.access.identity import Identity
from collab.access.rules import Access
from collab.dates import iso
from collab.errors import InvalidRequest, PermissionDenied, TooLarge
from collab.event import read_cursor, write_cursor
from collab.json_values import is_unicode, scalar_fault
from collab.names import RoomKey, is_part
from collab.realtime.listeners import KeyedListeners
from collab.realtime.topics import channels
from collab.realtime.topics.emitted import Emitted, EmittedEvent
from collab.realtime.topics.system import SYSTEM_EVENTS
from collab.records.idempotency import digest_of
from collab.wire.realtime.encoding import MAX_DEPTH
from collab.wire.realtime.values import PROTO

COLLECTION = "events"
"""Rights on ``events/<type>`` are rights on custom events of that type."""
MOST_CHANNELS = 100
MAX_EVENT_BYTES = 64 * 1024
KEPT_EVENTS = 1000
KEPT_BYTES = 1024 * 1024
KEPT_BYTES_OF_ALL = 64 * 1024 * 1024

_encoder = msgspec.json.Encoder()


class ChannelListener(Protocol):
    """A session that receives custom events."""

    @property
    def identity(self) -> Identity:
        """The session's identity."""

    @property
    def channels(self) -> Collection[str]:
        """The session's channels."""

    def custom(self, event: dict[str, Any], position: int) -> None:
        """Receive an event, which is shared with others. Must not block."""


class Recent(NamedTuple):
    """Events since a cursor, each with its position; ``recovered`` is false if some may be missing."""

    events: list[tuple[dict[str, Any], int]]
    recovered: bool


class CustomEvents:
    """Custom events of one process. ``epoch`` identifies the process in cursors."""

    def __init__(self, *, clock: Callable[[], float] = time, epoch: str | None = None) -> None:
        self.epoch = token_hex(8) if epoch is None else epoch
        self.position = 0
        self._clock = clock
        self._subscribers: KeyedListeners[_Sent] = KeyedListeners()
        self._kept = _Kept()
        self._emitted = Emitted()

    def subscribe(self, listener: ChannelListener, type: str) -> Callable[[], None]:  # noqa: A002 - the protocol's word
        """Send ``listener`` later events of a type. Returns a function that ends it.

        Raises :class:`InvalidRequest`, and :class:`PermissionDenied` without the right to read ``events/<type>``.
        """
        check_subscribe(listener.identity, type)

        def hear(sent: _Sent) -> None:
            if sent.is_for(listener.channels):
                listener.custom(sent.event, sent.position)

        return self._subscribers.add((listener.identity.project, type), hear)

    def emit(
        self,
        project: str,
        event: Mapping[str, Any],
        *,
        sender: Identity | None = None,
        request: str | None = None,
    ) -> dict[str, Any]:
        """Send an event to subscribers of its type, and only to its ``channels`` if it has any.

        ``sender`` is the emitting session; its user becomes the event's ``userId``. Without ``sender`` the server emits
        it. If the caller used the idempotency key ``request`` within the last hour, it is not sent again. Returns the
        event as sent, with ``at``. Raises :class:`InvalidRequest`, :class:`TooLarge`,
        :class:`collab.errors.IdempotencyKeyReused`, and :class:`PermissionDenied` without the right to write
        ``events/<type>``.
        """
        told = read_event(event)
        if sender is not None:
            check_emit(sender, project, told["type"])
            if sender.verified and sender.user_id is not None:
                told["userId"] = sender.user_id
        now = self._clock()
        at = iso(now)
        if request is not None:
            caller = sender.caller if sender is not None else None
            known = self._emitted.once(project, caller, request, EmittedEvent(digest_of((told,)), at, now))
            if known is not None:
                return {**told, "at": known}
        told["at"] = at
        size = _size(told)
        self.position += 1
        sent = _Sent(told, self.position, told["type"], frozenset(told.get("channels", ())), size)
        self._kept.add(project, sent)
        self._subscribers.tell((project, sent.type), sent)
        return told

    def cursor(self, position: int | None = None) -> str:
        """Format a position, by default the newest, as a cursor."""
        return write_cursor(self.epoch, self.position if position is None else position)

    def parse(self, cursor: str) -> int | None:
        """Parse a cursor; ``None`` if it is invalid, or belongs to another process."""
        position = read_cursor(self.epoch, cursor)
        return None if position is None else min(position, self.position)

    def recent(self, listener: ChannelListener, type: str, cursor: str) -> Recent:  # noqa: A002
        """Return the events of a type since ``cursor`` that ``listener``'s current channels receive."""
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
        raise PermissionDenied("this identity may not read events of this type", event=type)


def check_emit(identity: Identity, project: str, type: str) -> None:  # noqa: A002
    """Raise :class:`PermissionDenied` unless ``identity`` may emit events of this type."""
    if identity.access_to(RoomKey(project, COLLECTION, type)) < Access.WRITE:
        raise PermissionDenied("this identity may not emit events of this type", event=type)


def read_event(event: Mapping[str, Any]) -> dict[str, Any]:
    """Validate a custom event and convert it to JSON values; datetimes become RFC 3339.

    Raises :class:`InvalidRequest` and :class:`TooLarge`.
    """
    plain = _plain(event, 1)
    if not isinstance(plain, dict):
        raise InvalidRequest("an event must be an object")
    _check_type(plain.get("type"))
    if "channels" in plain:
        names = plain["channels"]
        if not isinstance(names, list) or len(names) > MOST_CHANNELS:
            raise InvalidRequest(f"channels must be a list of at most {MOST_CHANNELS} names")
        if not all(isinstance(name, str) and 0 < len(name) <= channels.LONGEST for name in names):
            raise InvalidRequest(f"a channel's name must be a string of 1-{channels.LONGEST} characters")
    if _size(plain) > MAX_EVENT_BYTES:
        raise TooLarge("the event is too large", limit=MAX_EVENT_BYTES)
    return plain


def _check_type(type: Any) -> None:  # noqa: A002
    if not isinstance(type, str) or not is_part(type):
        raise InvalidRequest("the type of an event must be a string of 1-128 characters of [A-Za-z0-9_.:-]")
    if type in SYSTEM_EVENTS:
        raise InvalidRequest(f"{type} is a system event", event=type)


def _plain(value: Any, depth: int) -> Any:
    match value:
        case datetime():
            return _moment(value)
        case date():
            return value.isoformat()
        case Mapping() | list() | tuple() if depth > MAX_DEPTH:
            raise InvalidRequest(f"an event may be nested at most {MAX_DEPTH} deep")
        case Mapping():
            return {_member(name): _plain(inner, depth + 1) for name, inner in value.items()}
        case list() | tuple():
            return [_plain(inner, depth + 1) for inner in value]
        case int() if not -(2**63) <= value < 2**64:
            raise InvalidRequest("an integer in an event may have at most 64 bits")
    fault = scalar_fault(value)
    if fault is not None:
        raise InvalidRequest(f"a value in an event {fault}")
    return value


def _moment(value: datetime) -> str:
    try:
        return iso(value.timestamp())
    except (ValueError, OverflowError):
        raise InvalidRequest("datetime out of range") from None


def _member(name: Any) -> str:
    if not isinstance(name, str):
        raise InvalidRequest("member names must be strings")
    if name == PROTO:
        raise InvalidRequest(f"an event must not have a member {PROTO}: JavaScript could not read it")
    if not is_unicode(name):
        raise InvalidRequest("the name of a member contains a lone surrogate")
    return name


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
    """The newest events of one project. All events after ``floor`` are present."""

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
    """The newest events of all projects, with limits per project and in total."""

    def __init__(self) -> None:
        self._rings: OrderedDict[str, _Ring] = OrderedDict()  # least recently active first
        self._bytes = 0
        self._floor = 0  # of projects without kept events

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
