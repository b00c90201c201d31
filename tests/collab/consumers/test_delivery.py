from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collab.consumers import delivery
from collab.consumers.delivery import Deliveries, Parcel, backoff
from collab.event import EntityEvent


def event(position: int, entity: str = "t1") -> tuple[str, EntityEvent]:
    return "p", EntityEvent(
        position=position,
        type="updated",
        collection="tasks",
        id=entity,
        version=position,
        data={},
        changes={},
        user_id=None,
        at="2024-01-31T12:00:00.000Z",
    )


def of(*events: tuple[str, EntityEvent], read_to: int | None = None, attempts: int = 3) -> Deliveries:
    deliveries = Deliveries(0, attempts)
    deliveries.take(events, events[-1][1].position if read_to is None else read_to, now=0)
    return deliveries


def next_of(deliveries: Deliveries, now: float = 0) -> Parcel:
    parcel = deliveries.next(now)
    assert parcel is not None
    return parcel


def test_h3_events_of_one_entity_are_sent_one_after_the_other() -> None:
    deliveries = of(event(1), event(2))
    first = next_of(deliveries)
    assert deliveries.next(0) is None
    assert deliveries.due() is None
    deliveries.sent(first)
    assert next_of(deliveries).event.position == 2


def test_h3_events_of_different_entities_are_sent_beside_each_other() -> None:
    deliveries = of(event(1, "a"), event(2, "b"))
    assert [next_of(deliveries).event.id for _ in range(2)] == ["a", "b"]


def test_h4_what_failed_is_tried_again_later_and_what_follows_waits() -> None:
    deliveries = of(event(1, "a"), event(2, "a"), event(3, "b"))
    deliveries.failed(next_of(deliveries), "no", now=10, random=0)
    deliveries.sent(next_of(deliveries))
    assert deliveries.due() == 11
    assert deliveries.next(10.9) is None
    again = next_of(deliveries, 11)
    assert again.event.position == 1
    deliveries.failed(again, "no", now=11, random=0)
    assert deliveries.due() == 15


def test_h4_waits_grow_to_an_hour_and_vary() -> None:
    assert [backoff(failures, 0) for failures in range(1, 9)] == [1, 4, 16, 64, 256, 1024, 3600, 3600]
    assert backoff(1000, 0) == 3600
    assert backoff(3, 0.5) == 12
    assert 8 <= backoff(3, 0.999) <= 16


def test_h4_the_receiver_may_ask_for_a_longer_wait_but_not_for_ever() -> None:
    deliveries = of(event(1), attempts=9)
    deliveries.failed(next_of(deliveries), "busy", 0, 0, retry_after=120)
    assert deliveries.due() == 120
    deliveries.failed(next_of(deliveries, 120), "busy", 0, 0, retry_after=1e9)
    assert deliveries.due() == 3600


def test_h5_after_so_many_attempts_it_is_given_up_and_the_next_goes_on() -> None:
    deliveries = of(event(1), event(2), attempts=2)
    assert deliveries.failed(next_of(deliveries), "no", 0, 0) is None
    dead = deliveries.failed(next_of(deliveries, 1), "still no", 1, 0)
    assert dead is not None
    assert (dead.event.position, dead.reason) == (1, "still no")
    assert next_of(deliveries, 1).event.position == 2
    assert deliveries.position == 1
    assert deliveries.dead() == [dead]
    deliveries.saved(1)
    assert deliveries.dead() == []


def test_h6_the_position_is_never_ahead_of_what_is_settled() -> None:
    deliveries = of(event(3, "a"), event(5, "b"), event(8, "c"), read_to=9)
    assert deliveries.position == 2
    a, b, c = (next_of(deliveries) for _ in range(3))
    deliveries.sent(c)
    assert deliveries.position == 2
    deliveries.sent(a)
    assert deliveries.position == 4
    deliveries.sent(b)
    assert deliveries.position == 9


def test_h6_a_dead_letter_is_remembered_only_once_the_position_is_behind_it() -> None:
    deliveries = of(event(1, "a"), event(2, "b"), attempts=1)
    a, b = next_of(deliveries), next_of(deliveries)
    deliveries.failed(b, "no", 0, 0)
    assert deliveries.dead() == []
    deliveries.saved(deliveries.position)
    deliveries.sent(a)
    assert [dead.event.position for dead in deliveries.dead()] == [2]


def test_events_of_others_alone_move_the_position() -> None:
    deliveries = Deliveries(4, 3)
    deliveries.take([], 20, now=0)
    assert deliveries.position == deliveries.read_to == 20


def test_only_so_many_are_held_and_only_so_many_are_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "MOST_OPEN", 3)
    monkeypatch.setattr(delivery, "MOST_AHEAD", 5)
    deliveries = of(event(1, "stuck"), event(2, "a"))
    assert deliveries.room == 1
    next_of(deliveries)
    for position in range(3, 7):
        deliveries.sent(next_of(deliveries))
        if deliveries.room:
            deliveries.take([event(position, "a")], position, now=0)
    assert deliveries.room == 0
    assert deliveries.position == 0


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("take"), st.lists(st.sampled_from("abc"), max_size=4)),
        st.tuples(st.just("next"), st.just([])),
        st.tuples(st.sampled_from(["sent", "failed", "failed"]), st.lists(st.integers(0, 5), min_size=1, max_size=1)),
        st.tuples(st.just("later"), st.just([])),
    ),
    max_size=60,
)


@given(STEPS)
@settings(max_examples=150)
def test_h6_each_event_is_settled_once_in_the_order_of_its_entity(steps: list[tuple[str, list[object]]]) -> None:
    deliveries = Deliveries(0, attempts=2)
    now, position = 0.0, 0
    taken: dict[str, list[int]] = defaultdict(list)
    settled: dict[str, list[int]] = defaultdict(list)
    under_way: list[Parcel] = []

    def finish(parcel: Parcel, good: bool) -> None:
        under_way.remove(parcel)
        if good:
            deliveries.sent(parcel)
        elif deliveries.failed(parcel, "no", now, 0.5) is None:
            return
        settled[parcel.event.id].append(parcel.event.position)

    def check() -> None:
        assert len({parcel.event.id for parcel in under_way}) == len(under_way)
        waiting = {position for positions in taken.values() for position in positions}
        waiting -= {position for positions in settled.values() for position in positions}
        assert deliveries.position == (min(waiting) - 1 if waiting else deliveries.read_to)
        for entity, positions in settled.items():
            assert positions == taken[entity][: len(positions)]

    for step, argument in steps:
        if step == "take":
            events = []
            for entity in argument:
                position += 1
                taken[str(entity)].append(position)
                events.append(event(position, str(entity)))
            position += 1  # of somebody else
            deliveries.take(events, position, now)
        elif step == "next" and (parcel := deliveries.next(now)) is not None:
            under_way.append(parcel)
        elif step in ("sent", "failed") and under_way:
            [number] = argument
            assert isinstance(number, int)
            finish(under_way[number % len(under_way)], step == "sent")
        elif step == "later":
            now += 1
        check()
    while under_way:
        finish(under_way[0], good=True)
    while (due := deliveries.due()) is not None:
        now = max(now, due)
        parcel = next_of(deliveries, now)
        under_way.append(parcel)
        finish(parcel, good=True)
        check()
    assert settled == {entity: positions for entity, positions in taken.items() if positions}
    assert deliveries.position == deliveries.read_to == position
