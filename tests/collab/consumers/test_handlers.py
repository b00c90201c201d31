"""What a handler is still to get: the events of its own process, and none of others."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.consumers.handlers import MOST_RANGES, Handlers, Owed
from collab.entities.feed import Feed
from collab.storage.memory import MemoryStorage
from collab.testing.storage_case import KEY, fact

committed = st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60)
"""For each position: whether it is ours, and of the collection that the handler wants."""


def test_events_of_one_process_are_one_range_whatever_their_collection() -> None:
    owed = Owed()
    for position in range(1, 1001):
        owed.note(position, wanted=position % 100 == 0)
    assert len(owed) == 1
    assert owed.first() == (100, 1000)


@given(committed, st.data())
def test_a_handler_gets_each_event_of_its_process_once_and_none_of_others(
    history: list[tuple[bool, bool]], data: st.DataObject
) -> None:
    owed = Owed()
    got: list[int] = []

    def read() -> None:
        first, last = owed.first()
        wanted = [at for at, (_, is_wanted) in enumerate(history, 1) if is_wanted and first <= at <= last]
        limit = data.draw(st.integers(1, 5))
        got.extend(wanted[:limit])
        owed.done(wanted[limit - 1] if len(wanted) > limit else last)

    for position, (ours, is_wanted) in enumerate(history, 1):
        if ours:
            owed.note(position, wanted=is_wanted)
        if owed and data.draw(st.booleans()):
            read()
    while owed:
        read()
    assert got == [position for position, (ours, is_wanted) in enumerate(history, 1) if ours and is_wanted]


@given(committed, st.integers(1, 4))
def test_a_handler_that_hangs_keeps_few_ranges_and_misses_no_event_of_its_process(
    history: list[tuple[bool, bool]], most: int
) -> None:
    owed, unbounded = Owed(most), Owed()
    for position, (ours, is_wanted) in enumerate(history, 1):
        if ours:
            owed.note(position, wanted=is_wanted)
            unbounded.note(position, wanted=is_wanted)
        assert len(owed) <= most
    assert owed.overlaps == (len(unbounded) > most)
    got: set[int] = set()
    while owed:
        first, last = owed.first()
        got |= set(range(first, last + 1))
        owed.done(last)
    assert got >= {position for position, (ours, wanted) in enumerate(history, 1) if ours and wanted}
    assert not owed.overlaps, "it has caught up"


async def test_the_log_tells_once_that_a_handler_hangs_too_far_behind(caplog: pytest.LogCaptureFixture) -> None:
    feed = Feed()
    event = fact(1).event
    handlers = Handlers(MemoryStorage(), feed)
    handlers.add("acme", KEY.collection, lambda event: None)
    for number in range(MOST_RANGES + 10):  # every other position is another node's
        feed.publish("acme", msgspec.structs.replace(event, position=2 * number + 1))
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "a handler of acme/documents is so far behind" in caplog.text
    await handlers.stop()
