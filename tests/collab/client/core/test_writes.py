from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.client.core.writes import LATE_SECONDS, MOST_IN_FLIGHT, MOST_KEPT, WriteMessage, Writes
from collab.errors import RateLimitExceeded
from collab.wire.realtime.messages import Update
from collab.wire.realtime.values import Written

AT = "2024-01-01T00:00:00.000Z"


def update(ticket: int, entity: str = "a", version: int | None = None) -> Update:
    return Update(id=ticket, collection="tasks", entity=entity, changes={"n": ticket}, version=version)


def written(version: int = 1) -> Written:
    return Written(data={}, version=version)


def ready(writes: Writes) -> list[int]:
    return [message.id for message in writes.ready(None)]


def test_writes_to_different_entities_leave_at_once_in_order() -> None:
    writes = Writes(10)
    for ticket, entity in enumerate("abc"):
        writes.add(update(ticket, entity), AT)
    assert ready(writes) == [0, 1, 2]
    assert ready(writes) == []


def test_a_second_write_to_an_entity_waits_for_the_first_and_has_seen_it() -> None:
    writes = Writes(10)
    writes.add(update(1, version=4), AT)
    writes.add(update(2, version=4), AT)
    assert ready(writes) == [1]
    writes.answered(1, [written(7)], 0)
    sent: list[WriteMessage] = list(writes.ready(None))
    assert [(message.id, message.version) for message in sent if isinstance(message, Update)] == [(2, 7)]


def test_a_write_that_was_refused_was_not_seen_by_the_next() -> None:
    writes = Writes(10)
    writes.add(update(1, version=4), AT)
    writes.add(update(2, version=4), AT)
    assert ready(writes) == [1]
    writes.answered(1, [None], 0)
    assert [message.version for message in writes.ready(None) if isinstance(message, Update)] == [4]


def test_nothing_overtakes_a_write_that_waits() -> None:
    writes = Writes(10)
    for ticket, entity in enumerate("aab"):
        writes.add(update(ticket, entity), AT)
    assert ready(writes) == [0]
    writes.answered(0, [written()], 0)
    assert ready(writes) == [1, 2]


def test_what_was_not_answered_is_sent_again_in_order() -> None:
    writes = Writes(10)
    for ticket, entity in enumerate("abcd"):
        writes.add(update(ticket, entity), AT)
    assert ready(writes) == [0, 1, 2, 3]
    writes.answered(1, [written()], 0)
    writes.link_lost()
    writes.add(update(4, "e"), AT)
    assert ready(writes) == [0, 2, 3, 4]


def test_a_write_that_cannot_be_taken_in_now_keeps_its_place() -> None:
    writes = Writes(10)
    for ticket, entity in enumerate("ab"):
        writes.add(update(ticket, entity), AT)
    assert ready(writes) == [0, 1]
    writes.again(0)
    assert 0 in writes
    assert ready(writes) == [0]


def test_only_so_many_wait() -> None:
    writes = Writes(2)
    writes.add(update(1), AT)
    writes.add(update(2), AT)
    with pytest.raises(RateLimitExceeded):
        writes.add(update(3), AT)
    assert len(writes) == 2


def test_only_so_many_are_under_way() -> None:
    writes = Writes(1000)
    for ticket in range(100):
        writes.add(update(ticket, f"e{ticket}"), AT)
    assert len(ready(writes)) == MOST_IN_FLIGHT


def test_a_committed_write_is_kept_until_all_were_told_and_is_late_after_a_while() -> None:
    writes = Writes(10)
    writes.add(update(1), AT)
    assert ready(writes) == [1]
    writes.answered(1, [written(3)], 100)
    assert [(op.version, op.commit, op.late) for op in writes.ops("tasks")] == [(3, 1, False)]
    assert writes.late_at() == 100 + LATE_SECONDS
    assert writes.late(100) == set()
    assert writes.late(100 + LATE_SECONDS) == {"tasks"}
    assert writes.late_at() is None
    writes.told("tasks", lambda _: False)
    assert [op.late for op in writes.ops("tasks")] == [True]
    writes.told("others", lambda _: True)
    assert len(writes.ops("tasks")) == 1
    writes.told("tasks", lambda _: True)
    assert writes.ops("tasks") == []


def test_what_waits_is_never_let_go_and_only_so_much_that_is_committed_is_kept() -> None:
    writes = Writes(2 * MOST_KEPT)
    for ticket in range(MOST_KEPT + 2):
        writes.add(update(ticket, f"e{ticket}"), AT)
    for ticket in range(MOST_KEPT + 1):
        ready(writes)
        writes.answered(ticket, [written()], 0)
    writes.told("tasks", lambda _: False)
    assert len(writes.ops("tasks")) == MOST_KEPT + 1
    assert writes.ops("tasks")[-1].commit is None


def test_a_refused_write_is_not_shown_any_more() -> None:
    writes = Writes(10)
    writes.add(update(1), AT)
    writes.add(update(2), AT)
    assert ready(writes) == [1]
    writes.answered(1, [None], 0)
    assert [op.values["n"] for op in writes.ops("tasks")] == [2]


def test_what_is_given_up_leaves_nothing_behind() -> None:
    writes = Writes(10)
    writes.add(update(1), AT)
    writes.add(update(2), AT)
    assert writes.collections() == {"tasks"}
    assert writes.clear() == [1, 2]
    assert (len(writes), ready(writes), writes.ops("tasks")) == (0, [], [])


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=40))
def test_each_entity_s_writes_are_made_in_order_and_each_once(steps: list[tuple[str, int]]) -> None:
    """0: write; 1: the oldest is answered; 2: the link breaks; 3: the oldest cannot be taken in now."""
    writes = Writes(1000)
    made: list[tuple[int, str]] = []
    effects: list[int] = []
    under_way: list[int] = []
    for ticket, (entity, action) in enumerate(steps):
        if action == 0:
            writes.add(update(ticket, entity), AT)
            made.append((ticket, entity))
        elif action == 2:
            writes.link_lost()
            under_way.clear()
        elif under_way:
            first = under_way.pop(0)
            if action == 1:
                writes.answered(first, [written(ticket)], ticket)
                effects.append(first)
            else:
                writes.again(first)
        under_way += ready(writes)
    while under_way:
        first = under_way.pop(0)
        writes.answered(first, [written()], 0)
        effects.append(first)
        under_way += ready(writes)
    assert sorted(effects) == [ticket for ticket, _ in made]
    for entity in "abc":
        mine = [ticket for ticket, name in made if name == entity]
        assert [ticket for ticket in effects if ticket in mine] == mine
