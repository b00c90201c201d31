"""One live query: what an event does to its rows, most of all at the edges of its window."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collab.errors import SubscriptionFailed
from collab.query.query import Compare, Not, Order, Query, Search
from collab.query.search import CONTENTS, parse_words
from collab.realtime.matching.query_window import MAX_ROWS, LiveQuery
from collab.wire.realtime.values import Step
from tests.collab.realtime.matching.live_world import FIELDS, IDS, TEXTS, Screen, World, queries

BY_A = (Order(("a",)),)


def world_of(**rows: Any) -> World:
    world = World()
    for name, value in rows.items():
        world.write(name, {"a": value})
    return world


def loaded(world: World, query: Query, spare: int = 10, max_rows: int = MAX_ROWS) -> LiveQuery:
    live = LiveQuery(query, spare=spare, max_rows=max_rows)
    live.load(world.find(live.ask()))
    return live


def ids(live: LiveQuery) -> list[str]:
    return [row.data["id"] for row in live.rows]


def test_l2_a_new_row_enters_at_its_place_and_pushes_out_the_last() -> None:
    world = world_of(r=1, s=3, t=5)
    live = loaded(world, Query(order_by=BY_A, limit=3))
    steps = live.apply(world.write("x", {"a": 2}))
    assert steps == [
        Step(op="leave", id="t", version=1),
        Step(op="enter", id="x", index=1, data={"id": "x", "a": 2}, version=1),
    ]


def test_l4_a_row_that_leaves_is_replaced_by_the_next_one_without_asking() -> None:
    world = world_of(r=1, s=3, t=5, u=7)
    live = loaded(world, Query(order_by=BY_A, limit=2))
    steps = live.apply(world.write("r", None))
    assert steps == [
        Step(op="leave", id="r", version=2),
        Step(op="enter", id="t", index=1, data={"id": "t", "a": 5}, version=1),
    ]
    assert not live.dry


def test_l3_a_row_that_changes_in_place_is_told_by_what_changed() -> None:
    world = world_of(r=1, s=3)
    live = loaded(world, Query(order_by=BY_A))
    assert live.apply(world.write("r", {"a": 1, "b": "new"})) == [
        Step(op="change", id="r", set={"b": "new"}, version=2)
    ]


def test_l3_a_row_that_moves_does_so_once_and_nobody_else_does() -> None:
    world = world_of(r=1, s=3, t=5)
    live = loaded(world, Query(order_by=BY_A))
    assert live.apply(world.write("r", {"a": 9})) == [
        Step(op="move", id="r", index=2),
        Step(op="change", id="r", set={"a": 9}, version=2),
    ]


def test_l4_rows_before_the_offset_shift_the_window() -> None:
    world = world_of(r=1, s=3, t=5, u=7)
    live = loaded(world, Query(order_by=BY_A, offset=1, limit=2))
    assert ids(live) == ["s", "t"]
    assert [(step.op, step.id) for step in live.apply(world.write("x", {"a": 0}))] == [("leave", "t"), ("enter", "r")]
    assert [(step.op, step.id) for step in live.apply(world.write("r", None))] == [("leave", "r"), ("enter", "t")]
    assert live.apply(world.write("x", {"a": 0, "b": 1})) == []
    assert ids(live) == ["s", "t"]


def test_l5_a_deleted_row_leaves_and_a_restored_one_enters() -> None:
    world = world_of(r=1, s=3)
    live = loaded(world, Query(order_by=BY_A))
    assert [step.op for step in live.apply(world.write("s", None))] == ["leave"]
    assert [step.op for step in live.apply(world.write("s", {"a": 0}))] == ["enter"]
    assert ids(live) == ["s", "r"]


def test_events_that_the_rows_know_already_are_ignored() -> None:
    world = world_of(r=1)
    known = [world.write("r", {"a": 2}), world.write("gone", {"a": 1}), world.write("gone", None)]
    live = loaded(world, Query())
    assert [live.apply(event) for event in known] == [[], [], []]
    newer = world.write("r", {"a": 3})
    newest = world.write("r", {"a": 4})
    assert live.apply(newest) != []
    assert live.apply(newer) == []
    assert [row.data["a"] for row in live.rows] == [4]


def test_l4_a_dry_buffer_says_so_and_the_rows_stay_right() -> None:
    world = world_of(**{f"r{n}": n for n in range(9)})
    query = Query(order_by=BY_A, limit=2)
    live = loaded(world, query, spare=1)  # r0 r1 | r2
    assert not live.dry
    live.apply(world.write("r0", None))
    assert live.dry
    live.apply(world.write("r1", None))
    assert ids(live) == ["r2"]
    assert live.apply(world.write("late", {"a": 5})) == []  # others may come before it
    assert [step.op for step in live.apply(world.write("soon", {"a": 1.5}))] == ["enter"]
    steps = live.load(world.find(live.ask()))
    assert steps == []
    assert not live.dry
    live.apply(world.write("soon", None))
    live.apply(world.write("r2", None))
    assert [(step.op, step.id, step.index) for step in live.load(world.find(live.ask()))] == [("enter", "r4", 1)]
    assert ids(live) == ["r3", "r4"]


def test_l4_a_short_list_that_is_complete_is_not_dry() -> None:
    world = world_of(r=1)
    live = loaded(world, Query(limit=5), spare=1)
    live.apply(world.write("r", None))
    assert not live.dry
    assert ids(live) == []


def test_rows_far_behind_the_window_are_let_go_of() -> None:
    world = world_of(r=100)
    live = loaded(world, Query(order_by=BY_A, limit=2), spare=2)
    dropped = []
    for n in range(50):
        live.apply(world.write(f"x{n:02}", {"a": -n}))
        dropped += live.trim()
        assert len(live.held) <= 6
    assert len(dropped) == len(set(dropped))
    assert set(dropped).isdisjoint(live.held)
    assert set(dropped) | live.held == world.rows.keys()
    assert ids(live) == ["x49", "x48"]


def test_after_stands_for_rows_behind_it_only() -> None:
    world = world_of(r=1, s=3, t=3, u=5)
    live = loaded(world, Query(order_by=BY_A, after=("s", (3,))))
    assert ids(live) == ["t", "u"]
    assert live.apply(world.write("x", {"a": 2})) == []
    assert [step.op for step in live.apply(world.write("sx", {"a": 3}))] == ["enter"]
    assert [step.op for step in live.apply(world.write("u", {"a": 0}))] == ["leave"]
    assert ids(live) == ["sx", "t"]


@pytest.mark.parametrize("query", [Query(limit=8, offset=3), Query(limit=11), Query(offset=11)], ids=str)
def test_l7_a_window_beyond_the_bound_is_refused(query: Query) -> None:
    with pytest.raises(SubscriptionFailed, match="at most 10"):
        LiveQuery(query, max_rows=10)


def test_l7_more_rows_than_the_bound_are_refused_at_first_and_later() -> None:
    world = world_of(**{f"r{n}": n for n in range(10)})
    live = loaded(world, Query(), max_rows=10)
    assert len(live.rows) == 10
    event = world.write("one", {"a": 1})
    with pytest.raises(SubscriptionFailed, match="10 rows"):
        live.apply(event)
    with pytest.raises(SubscriptionFailed, match="10 rows"):
        loaded(world, Query(), max_rows=10)


def test_l3_a_row_whose_terms_change_leaves() -> None:
    world = world_of(r=1, s=1)
    live = loaded(world, Query(where=Compare(("a",), "eq", 1)))
    assert live.apply(world.write("r", {"a": True})) == [Step(op="leave", id="r", version=2)]


@settings(max_examples=150, deadline=None)
@given(
    queries(),
    st.lists(st.tuples(IDS, FIELDS), max_size=16),
    st.lists(st.tuples(IDS, st.one_of(FIELDS, st.none(), TEXTS)), min_size=1, max_size=40),
    st.integers(1, 3),
)
def test_l1_the_rows_follow_the_events_with_the_fewest_steps(
    query: Query, before: list[Any], writes: list[Any], spare: int
) -> None:
    """Whenever the buffer is not dry and no row is unsure, the rows are those of a fresh query; others are read again.

    A string is what the document of a row says from then on.
    """
    world, screen = World(), Screen()
    for name, fields in before:
        world.write(name, fields)
    live = loaded(world, query, spare)
    screen.reset([row.data for row in live.rows], [row.version for row in live.rows])
    for name, new in writes:
        event = world.say(name, new) if isinstance(new, str) else world.write(name, new)
        if event is not None and (steps := live.apply(event)):
            screen.steps(steps)
        live.trim()
        if (unsure := tuple(live.unsure)) and (steps := live.settle(unsure, world.contents(unsure))):
            screen.steps(steps)
        live.trim()
        assert not live.unsure
        if live.dry and (steps := live.load(world.find(live.ask()))):
            screen.steps(steps)
        assert screen.shows(world, query)


def contents(words: str, **others: Any) -> Query:
    """A query that searches what documents say, and the field ``a``."""
    return Query(search=Search(parse_words(words), (CONTENTS, ("a",))), **others)


def settled(live: LiveQuery, world: World) -> list[Step]:
    """Read the rows that are unsure."""
    unsure = tuple(live.unsure)
    return live.settle(unsure, world.contents(unsure))


def test_t6_a_row_enters_and_leaves_with_what_its_document_says() -> None:
    """Until that has been read, it stays as it was."""
    world = world_of(r="red", s="blue")
    live = loaded(world, contents("blue"))
    assert ids(live) == ["s"]
    told = world.say("r", "blue")
    assert told is not None
    assert live.apply(told) == []
    assert (ids(live), tuple(live.unsure)) == (["s"], ("r",))
    assert [step.op for step in settled(live, world)] == ["enter"]
    assert ids(live) == ["r", "s"]
    assert live.apply(world.write("s", {"a": "red"})) == []
    assert settled(live, world) == [Step(op="leave", id="s", version=2)]
    assert not live.unsure


def test_t6_a_row_of_which_nothing_that_is_searched_changes_need_not_be_read() -> None:
    """Nor one that another condition or its deletion excludes."""
    world = world_of(r="blue", s="blue")
    live = loaded(world, contents("blue", where=Not(Compare(("b",), "eq", 1))))
    assert [step.op for step in live.apply(world.write("r", {"a": "blue", "b": 2}))] == ["change"]
    assert [step.op for step in live.apply(world.write("r", {"a": "blue", "b": 1}))] == ["leave"]
    assert [step.op for step in live.apply(world.write("s", None))] == ["leave"]
    assert not live.unsure


def test_t6_an_answer_says_nothing_of_what_came_after_it() -> None:
    """A row that was deleted meanwhile does not come back, and one that changed again is read again."""
    world = world_of(r="red", s="red")
    live = loaded(world, contents("blue"))
    for name in ("r", "s"):
        told = world.say(name, "blue")
        assert told is not None
        live.apply(told)
    asked = tuple(live.unsure)
    found = world.contents(asked)
    live.apply(world.write("r", None))
    again = world.say("s", "green")
    assert again is not None
    live.apply(again)
    assert live.settle(asked, found) == []
    assert (ids(live), tuple(live.unsure)) == ([], ("s",))
    assert settled(live, world) == []
    assert (ids(live), tuple(live.unsure)) == ([], ())
