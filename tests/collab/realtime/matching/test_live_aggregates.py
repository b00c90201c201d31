"""What live aggregates cost: an event adjusts them, and only a lost extreme, or ``updatedAt``, is read."""

from __future__ import annotations

import pytest

from collab.errors import SubscriptionFailed
from collab.query.aggregate import MAX_GROUPS, Aggregation
from collab.query.query import Compare
from collab.realtime.matching.live_aggregate import LiveAggregate
from collab.storage.base import FoundRows
from tests.collab.realtime.matching.live_world import Screen, World
from tests.collab.realtime.matching.test_live_queries import Setup, settle

A, B = (("a",),), (("b",),)


async def watch(setup: Setup, aggregation: Aggregation) -> Screen:
    return (await setup.watch(aggregation))[0]


async def test_g6_counts_sums_and_averages_are_adjusted_without_another_read() -> None:
    setup = Setup(5)
    screen = await watch(setup, Aggregation(group_by=B, sum=A, avg=A))
    for number in range(20):
        setup.write(f"r{number % 7}", number)
    setup.delete("r1")
    await settle()
    assert len(setup.storage.aggregated) == 1
    assert setup.storage.asked == []
    assert screen.rows == [{"id": "[null]", "group": {"b": None}, "count": 6, "sum": {"a": 97}, "avg": {"a": 97 / 6}}]


async def test_g6_a_lost_extreme_is_read_again_in_its_group_alone() -> None:
    setup = Setup(9)
    screen = await watch(setup, Aggregation(max=A))
    assert screen.rows[0]["max"] == {"a": 8}
    setup.delete("r8")
    await settle()
    assert screen.rows[0]["max"] == {"a": 7}
    (asked,) = setup.storage.asked
    assert (asked.limit, asked.order_by[0].descending) == (1, True)
    setup.write("r9", 100)
    setup.delete("r9")
    await settle()
    assert screen.rows[0]["max"] == {"a": 7}
    assert len(setup.storage.asked) == 1, "the value before it is still known"
    assert len(setup.storage.aggregated) == 1


async def test_g6_what_cannot_change_an_aggregate_does_not_reach_it() -> None:
    setup = Setup(3)
    screen = await watch(setup, Aggregation(Compare(("b",), "eq", 1), sum=A))
    setup.world.write("r0", {"a": 0, "c": 1})
    setup.world.tell()
    setup.write("r1", 7)
    assert screen.told == []


async def test_g6_equal_aggregates_share_one_computation() -> None:
    setup = Setup(3)
    first, second = await watch(setup, Aggregation(sum=A)), await watch(setup, Aggregation(sum=A))
    setup.write("r9", 100)
    assert len(setup.storage.aggregated) == 1
    assert first.told == second.told
    assert first.told[0] is second.told[0]


async def test_g6_an_aggregate_of_the_time_of_change_is_read_after_each_event() -> None:
    setup = Setup()
    setup.world.write("r1", {"updatedAt": "2024-01-01"})
    setup.world.tell()
    screen = await watch(setup, Aggregation(max=(("updatedAt",),)))
    setup.world.write("r1", {"updatedAt": "2025-01-01"})
    setup.world.tell()
    await settle()
    assert screen.rows[0]["max"] == {"updatedAt": "2025-01-01T00:00:00.000000Z"}
    setup.delete("r1")
    await settle()
    assert screen.rows[0]["max"] == {"updatedAt": None}
    assert len(setup.storage.aggregated) == 3


async def test_g6_many_lost_extremes_are_read_together() -> None:
    setup = Setup()
    for number in range(40):
        setup.world.write(f"r{number}", {"a": number, "b": number % 8})
    setup.world.tell()
    screen = await watch(setup, Aggregation(group_by=B, min=A))
    setup.storage.gate.clear()
    for number in range(8):
        setup.delete(f"r{number}")
    setup.storage.gate.set()
    await settle()
    assert [group["min"]["a"] for group in screen.rows] == list(range(8, 16))
    assert len(setup.storage.asked) <= 1
    assert len(setup.storage.aggregated) == 2


async def test_g5_a_subscription_fails_if_a_read_finds_too_many_groups() -> None:
    setup = Setup(MAX_GROUPS)
    screen = await watch(setup, Aggregation(group_by=A, max=(("updatedAt",),)))
    setup.write("one more", MAX_GROUPS)
    await settle()
    assert isinstance(screen.error, SubscriptionFailed)
    with pytest.raises(SubscriptionFailed, match="more than 1,000 groups"):
        await watch(setup, Aggregation(group_by=A))


async def test_g5_an_aggregate_that_grows_beyond_its_groups_ends() -> None:
    world = World()
    live = LiveAggregate(Aggregation(group_by=A), max_groups=2)
    live.load(world.aggregate(live.aggregation))
    live.apply(world.write("r1", {"a": 1}))
    live.apply(world.write("r2", {"a": 2}))
    live.apply(world.write("r3", {"a": 1}))
    with pytest.raises(SubscriptionFailed, match="more than 2 groups"):
        live.apply(world.write("r4", {"a": 3}))


async def test_g5_the_last_row_of_a_group_may_begin_another_when_no_more_groups_are_allowed() -> None:
    world = World()
    live = LiveAggregate(Aggregation(group_by=A, max=B), max_groups=2)
    live.load(world.aggregate(live.aggregation))
    for row in ("r1", "r2"):
        live.apply(world.write(row, {"a": row, "b": 1}))
    steps = live.apply(world.write("r1", {"a": "r3", "b": 2}))
    assert [(step.op, step.id) for step in steps] == [("leave", '["r1"]'), ("enter", '["r3"]')]
    assert [row.data for row in live.rows] == world.fresh(live.aggregation)[0]


async def test_a_row_whose_number_becomes_true_changes_its_group() -> None:
    world = World()
    live = LiveAggregate(Aggregation(group_by=A))
    live.load(world.aggregate(live.aggregation))
    for value in (1, True, 1, None, False, 0):
        live.apply(world.write("r", {"a": value}))
        assert [row.data for row in live.rows] == world.fresh(live.aggregation)[0]


async def test_values_read_for_a_group_that_is_gone_are_ignored() -> None:
    world = World()
    events = [world.write(f"r{number}", {"a": number, "b": 1}) for number in range(3)]
    live = LiveAggregate(Aggregation(group_by=B, max=A), spare=1)
    live.load(world.aggregate(live.aggregation))
    assert events
    live.apply(world.write("r2", None))
    assert live.dry
    live.ask()
    live.apply(world.write("r1", None))
    assert [step.op for step in live.apply(world.write("r0", None))] == ["leave"]
    assert not live.dry
    assert live.load(FoundRows([], world.position)) == []
    assert live.rows == []
