"""Events are delivered once and in order, however they arrive."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from collab.entities.order import EventOrder, Missing
from collab.event import EntityEvent


def event(position: int) -> EntityEvent:
    return EntityEvent(position, "updated", "tasks", "t1", position, {"id": "t1"}, {}, None, "now")


def positions(events: list[EntityEvent]) -> list[int]:
    return [one.position for one in events]


def test_the_next_event_is_delivered_at_once() -> None:
    order = EventOrder(7)
    assert positions(order.take([event(8), event(9)])) == [8, 9]
    assert (order.position, order.missing) == (9, None)


def test_an_event_waits_for_those_before_it_and_repeats_do_nothing() -> None:
    order = EventOrder(0)
    assert order.take([event(3), event(5), event(3)]) == []
    assert order.missing == Missing(1, 2)
    assert positions(order.take([event(1)])) == [1]
    assert order.missing == Missing(2, 2)
    assert positions(order.take([event(2), event(1)])) == [2, 3]
    assert order.missing == Missing(4, 4)
    assert positions(order.take([event(4)])) == [4, 5]
    assert order.missing is None


def test_what_is_only_said_to_exist_is_missing() -> None:
    order = EventOrder(0)
    order.expect(2)
    assert order.missing == Missing(1, 2)
    assert positions(order.take([event(1), event(2)])) == [1, 2]
    assert order.missing is None


def test_what_the_record_does_not_have_is_passed_over() -> None:
    order = EventOrder(0)
    assert order.take([event(3), event(6)]) == []
    assert positions(order.fill([event(2)], 4)) == [2, 3]
    assert (order.position, order.missing) == (4, Missing(5, 5))
    assert positions(order.fill([], 5)) == [6]


def test_an_old_answer_of_the_record_changes_nothing() -> None:
    order = EventOrder(0)
    assert positions(order.take(map(event, range(1, 6)))) == [1, 2, 3, 4, 5]
    assert order.fill([event(1), event(2)], 3) == []
    assert order.position == 5


def test_positions_that_do_not_exist_can_be_forgotten() -> None:
    order = EventOrder(4)
    order.take([event(1000), event(6)])
    assert order.forget(6)
    assert order.missing == Missing(5, 5)
    assert positions(order.take([event(5)])) == [5, 6]
    assert not order.forget(6)


def test_the_memory_for_early_events_is_bounded_and_what_is_dropped_stays_missing() -> None:
    order = EventOrder(0, most=3)
    order.take([event(position) for position in (9, 8, 7, 6, 5, 4)])
    assert positions(order.take(map(event, (1, 2, 3)))) == [1, 2, 3, 4, 5, 6]
    assert order.missing == Missing(7, 9)


@given(
    st.integers(0, 1000),
    st.integers(1, 40),
    st.integers(0, 2**32),
    st.floats(0, 0.9),
    st.floats(0, 0.5),
    st.integers(1, 50),
)
def test_whatever_is_lost_repeated_or_late_each_event_is_delivered_once_in_order(
    start: int, count: int, seed: int, loss: float, erased: float, most: int
) -> None:
    """The record is read for what is missing, and may have erased some of it."""
    chance = random.Random(seed)
    newest = start + count
    gone = {position for position in range(start + 1, newest + 1) if chance.random() < erased}
    kept = [event(position) for position in range(start + 1, newest + 1) if position not in gone]
    heard = [event(position) for position in range(start + 1, newest + 1) if chance.random() >= loss]
    heard += [one for one in heard if chance.random() < 0.3]
    chance.shuffle(heard)
    order = EventOrder(start, most=most)
    delivered: list[EntityEvent] = []
    while heard:
        taken = [heard.pop() for _ in range(min(len(heard), chance.randint(1, 3)))]
        delivered += order.take(taken)
        assert order.missing is None or order.missing.first == order.position + 1
        if order.missing is not None and chance.random() < 0.3:
            limit = chance.randint(1, 5)
            found = [one for one in kept if one.position > order.position][:limit]
            delivered += order.fill(found, found[-1].position if len(found) == limit else newest)
    order.expect(newest)
    if order.missing is not None:
        delivered += order.fill(kept, newest)
    assert (order.position, order.missing) == (newest, None)
    assert positions(delivered) == sorted(set(positions(delivered)))
    assert {one.position for one in kept} <= set(positions(delivered)) <= set(range(start + 1, newest + 1))
