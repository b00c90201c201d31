"""What nodes tell each other of the events of one project: bytes to events and back. Pure.

A message is ``[first, count, events]`` in MessagePack: ``count`` events, from position ``first`` on without a gap.
``events`` holds ``[collection, event]`` for each, or nothing if they do not fit: then they are in the record.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from collab.event import EntityEvent

LONGEST = 64 * 1024
"""A message is not much longer than this."""
MOST = 1000
"""Most events in a message."""

_Position = Annotated[int, Meta(ge=1, le=2**53)]
_Message = tuple[
    _Position,
    Annotated[int, Meta(ge=1, le=MOST)],
    Annotated[list[tuple[str, msgspec.Raw]], Meta(max_length=MOST)],
]

_encoder = msgspec.msgpack.Encoder()
_messages = msgspec.msgpack.Decoder(_Message)
_events = msgspec.msgpack.Decoder(EntityEvent)


class HeardEvents(NamedTuple):
    """Events from position ``first`` to ``last``; without ``events``, only that they exist."""

    first: int
    last: int
    events: Sequence[EntityEvent]


def topic_of(project: str) -> str:
    """The topic of a project's events."""
    return f"entities/{project}"


def write_messages(events: Sequence[EntityEvent]) -> Iterator[bytes]:
    """Messages about events that follow each other without a gap."""
    return (_encoder.encode(portion) for portion in _portions(events))


def _portions(
    events: Sequence[EntityEvent],
) -> Iterator[tuple[int, int, Sequence[tuple[str, msgspec.Raw]]]]:
    packed: list[tuple[str, msgspec.Raw]] = []
    first, size = events[0].position, 0
    for event in events:
        try:
            one = _encoder.encode(event)
        except (OverflowError, TypeError, ValueError, RecursionError):  # a number of more than 64 bits, for example
            one = b""
        fits = 0 < len(one) <= LONGEST
        if packed and (not fits or size + len(one) > LONGEST or len(packed) == MOST):
            yield first, len(packed), packed
            packed, size = [], 0
        if fits:
            if not packed:
                first = event.position
            packed.append((event.collection, msgspec.Raw(one)))
            size += len(one)
        else:
            yield event.position, 1, ()
    if packed:
        yield first, len(packed), packed


def read_message(message: bytes, after: int) -> HeardEvents | None:
    """What a message says; ``None`` if it makes no sense.

    Events up to position ``after`` are left out, unread.
    """
    if len(message) > 2 * LONGEST + 64 * MOST:
        return None
    try:
        first, count, packed = _messages.decode(message)
        if packed and len(packed) != count:
            return None
        events = []
        for position, (collection, raw) in enumerate(packed, first):
            if position > after:
                event = _events.decode(raw)
                if event.position != position or event.collection != collection:
                    return None
                events.append(event)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return HeardEvents(first, first + count - 1, events)
