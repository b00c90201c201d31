"""Events between nodes: as they were, or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.cluster.event_messages import LONGEST, MOST, HeardEvents, read_message, write_messages
from collab.event import EntityEvent, FieldConflict

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def write(events: Sequence[EntityEvent]) -> Iterator[bytes]:
    return write_messages(events)


def read(message: bytes, after: int) -> HeardEvents | None:
    return read_message(message, after)


def event(position: int, data: dict[str, Any], **more: Any) -> EntityEvent:
    return EntityEvent(position, "updated", "tasks", "t1", 1, {"id": "t1", **data}, {}, "ada", "now", **more)


def packed(*events: EntityEvent) -> list[tuple[str, msgspec.Raw]]:
    return [(one.collection, msgspec.Raw(msgspec.msgpack.encode(one))) for one in events]


@given(st.lists(st.dictionaries(st.text(), values), min_size=1, max_size=5), st.integers(1, 2**53 - 10))
def test_events_arrive_as_they_were(contents: list[dict[str, Any]], first: int) -> None:
    conflict = FieldConflict("n", 1, 2, 3, "yours", None, None)
    events = [event(first + place, data, conflicts=(conflict,)) for place, data in enumerate(contents)]
    (message,) = write(events)
    heard = read(message, 0)
    assert heard == (first, events[-1].position, events)


def test_events_that_are_too_long_for_a_message_are_named_only() -> None:
    events = [event(1, {}), event(2, {"text": "x" * LONGEST}), event(3, {}), event(4, {"n": 2**64}), event(5, {})]
    heard = [read(message, 0) for message in write(events)]
    assert heard == [(1, 1, [events[0]]), (2, 2, []), (3, 3, [events[2]]), (4, 4, []), (5, 5, [events[4]])]


def test_many_events_are_several_messages() -> None:
    events = [event(position, {"text": "x" * 1000}) for position in range(1, 200)]
    messages = [*write(events)]
    assert len(messages) > 3
    assert all(len(message) < LONGEST + 5000 for message in messages)
    heard = [read(message, 0) for message in messages]
    assert [one for part in heard if part is not None for one in part.events] == events
    many = [event(position, {}) for position in range(1, MOST + 2)]
    last = [read(message, 0) for message in write(many)][-1]
    assert last is not None
    assert last.last == MOST + 1


def test_known_events_are_not_read() -> None:
    broken = [*packed(event(1, {})), ("tasks", msgspec.Raw(b"\xc0")), *packed(event(3, {}))]
    message = msgspec.msgpack.encode((1, 3, broken))
    assert read(message, 0) is None
    heard = read(message, 2)
    assert heard is not None
    assert [one.position for one in heard.events] == [3]


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"junk",
        b"\x93",
        msgspec.msgpack.encode([]),
        msgspec.msgpack.encode((0, 1, ())),
        msgspec.msgpack.encode((-1, 1, ())),
        msgspec.msgpack.encode((2**60, 1, ())),
        msgspec.msgpack.encode((1, 0, ())),
        msgspec.msgpack.encode((1, MOST + 1, ())),
        msgspec.msgpack.encode((1, 2, packed(event(1, {})))),
        msgspec.msgpack.encode((2, 1, packed(event(1, {})))),
        msgspec.msgpack.encode((1, 1, [("boards", packed(event(1, {}))[0][1])])),
        msgspec.msgpack.encode((1, 1, [("tasks", {"position": 1})])),
        msgspec.msgpack.encode((1, 1, [("tasks", b"\xff\xff")])),
        b"\x93\x01\x01\x91\x92\xa5tasks" + b"\x91" * 5000,
        b"\x93\x01\x01\x91\x92\xa5tasks" + b"\xa1\xff",
        bytes(10_000_000),
    ],
    ids=range(17),
)
def test_what_makes_no_sense_is_refused(message: bytes) -> None:
    assert read(message, 0) is None


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(message: bytes) -> None:
    heard = read(message, 0)
    assert heard is None or heard.last >= heard.first >= 1
