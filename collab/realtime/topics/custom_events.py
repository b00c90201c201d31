"""Custom events: messages between applications, outside the record, kept only for a short time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime
from time import time
from typing import Any, NamedTuple, Protocol

import msgspec

from collab.access.identity import Identity
from collab.access.rules import Access
from collab.dates import iso
from collab.errors import InvalidRequest, PermissionDenied, TooLarge
from collab.event import write_cursor
from collab.json_values import is_unicode, scalar_fault
from collab.names import RoomKey, is_part
from collab.realtime.listeners import KeyedListeners
from collab.realtime.topics import channels
from collab.realtime.topics.kept_events import Emission, EventName, EventsSince, KeptEvents, SentEvent
from collab.realtime.topics.kept_in_memory import KeptInMemory
from collab.realtime.topics.system import SYSTEM_EVENTS
from collab.records.idempotency import digest_of
from collab.wire.realtime.encoding import MAX_DEPTH
from collab.wire.realtime.values import PROTO

COLLECTION = "events"
"""Rights on ``events/<type>`` are rights on custom events of that type."""
MOST_CHANNELS = 100
MAX_EVENT_BYTES = 64 * 1024

_encoder = msgspec.json.Encoder()


class ChannelListener(Protocol):
    """A session that receives custom events."""

    @property
    def identity(self) -> Identity:
        """The session's identity."""

    @property
    def channels(self) -> Collection[str]:
        """The session's channels."""

    def custom(self, event: dict[str, Any], cursor: str) -> None:
        """Receive an event, which is shared with others. Must not block."""

    def missed(self) -> None:
        """Events may be missing between the last one and the next one. Must not block."""


class Resumed(NamedTuple):
    """A subscription that is open: what it has missed, in order, and where it stands.

    ``recovered`` is false if it may have missed more; ``cursor`` is the newest one then.
    """

    end: Callable[[], None]
    events: list[SentEvent]
    cursor: str
    recovered: bool


class CustomEvents:
    """Custom events: who hears and emits them. ``kept`` numbers and keeps them, by default in this process."""

    def __init__(self, kept: KeptEvents | None = None, *, clock: Callable[[], float] = time) -> None:
        self._kept: KeptEvents = KeptInMemory() if kept is None else kept
        self._clock = clock
        self._subscribers: KeyedListeners[SentEvent | None] = KeyedListeners()
        self._kept.connect(self._hear, self._missed)

    def subscribe(self, listener: ChannelListener, type: str) -> Callable[[], None]:  # noqa: A002 - the protocol's word
        """Send ``listener`` later events of a type. Returns a function that ends it.

        Raises :class:`InvalidRequest`, and :class:`PermissionDenied` without the right to read ``events/<type>``.
        """
        check_subscribe(listener.identity, type)

        def hear(sent: SentEvent | None) -> None:
            if sent is None:
                listener.missed()
            elif sent.is_for(listener.channels):
                listener.custom(sent.event, sent.cursor)

        return self._add(listener.identity.project, type, hear)

    async def resume(self, listener: ChannelListener, type: str, cursor: str | None) -> Resumed:  # noqa: A002
        """Send ``listener`` later events of a type, and return those since ``cursor`` that it has missed.

        Its channels are those that it has now. Later events may arrive before this returns. Without a cursor none are
        missed. Raises as :meth:`subscribe`.
        """
        check_subscribe(listener.identity, type)
        project = listener.identity.project
        early: list[SentEvent] = []
        opening = complete = True

        def hear(sent: SentEvent | None) -> None:
            nonlocal complete
            if sent is None:
                complete = False
                if not opening:
                    listener.missed()
            elif opening:
                early.append(sent)
            elif not (sent.epoch == found.epoch and sent.number <= found.number) and sent.is_for(listener.channels):
                listener.custom(sent.event, sent.cursor)

        end = self._add(project, type, hear)
        found = EventsSince([], "", 0, recovered=False)
        try:
            found = await self._kept.since(project, cursor)
        except BaseException:
            end()
            raise
        stands = cursor if cursor is not None and found.recovered else write_cursor(found.epoch, found.number)
        if cursor is None:
            found = found._replace(epoch="")  # nothing was sent yet: all that comes is new
        events = [sent for sent in found.events if sent.type == type and found.recovered]
        events += [sent for sent in early if not (sent.epoch == found.epoch and sent.number <= found.number)]
        opening = False
        return Resumed(
            end,
            [sent for sent in events if sent.is_for(listener.channels)],
            stands,
            complete and found.recovered,
        )

    def emit(
        self,
        project: str,
        event: Mapping[str, Any],
        *,
        sender: Identity | None = None,
        request: str | None = None,
    ) -> Emission:
        """Send an event to subscribers of its type, and only to its ``channels`` if it has any.

        ``sender`` is the emitting session; its user becomes the event's ``userId``. Without ``sender`` the server emits
        it. If the caller used the idempotency key ``request`` within the last hour, it is not sent again. The event is
        sent whether or not the result is awaited, events of one node in the order of the calls; a server without a
        cluster has sent it when this returns. Awaited, the result is the event as sent, with ``at``; awaiting raises
        :class:`collab.errors.Unavailable` if the nodes of a cluster do not hear each other. In a cluster, call this in
        the event loop of the server.

        Raises :class:`InvalidRequest`, :class:`TooLarge`, :class:`PermissionDenied` without the right to write
        ``events/<type>``, and, in a cluster when awaited, :class:`collab.errors.IdempotencyKeyReused`.
        """
        told = read_event(event)
        if sender is not None:
            check_emit(sender, project, told["type"])
            if sender.verified and sender.user_id is not None:
                told["userId"] = sender.user_id
        name = None
        if request is not None:
            name = EventName(sender.caller if sender is not None else None, request, digest_of((told,)))
        return self._kept.emit(project, told, self._clock(), name)

    def cursor(self, project: str) -> str:
        """The cursor that stands for all events of a project that were sent up to now."""
        return self._kept.cursor(project)

    async def close(self) -> None:
        """Hear nothing more."""
        await self._kept.close()

    def _add(self, project: str, type: str, hear: Callable[[SentEvent | None], None]) -> Callable[[], None]:  # noqa: A002
        give_back = self._kept.hold(project)
        remove = self._subscribers.add((project, type), hear)

        def end() -> None:
            remove()
            give_back()

        return end

    def _hear(self, project: str, sent: SentEvent) -> None:
        self._subscribers.tell((project, sent.type), sent)

    def _missed(self, project: str) -> None:
        for key in self._subscribers:
            if key[0] == project:
                self._subscribers.tell(key, None)


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
