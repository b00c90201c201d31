from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collab.access.identity import Identity
from collab.bus.base import Bus
from collab.bus.memory import MemoryHub
from collab.bus.redis import RedisBus
from collab.realtime.topics import cluster_users
from collab.realtime.topics.analytics import AnalyticsMetrics
from collab.realtime.topics.cluster_users import (
    ASKED_TICKS,
    NOBODY,
    SILENT_TICKS,
    ClusterUsers,
    ConnectedUsers,
    OtherUsers,
    OwnUsers,
    hash_user,
)
from collab.testing.bus_contract import until
from tests.collab.realtime.virtual_time import VirtualTime


def users(*names: str) -> frozenset[bytes]:
    return frozenset(map(hash_user, names))


# what one node tells, and another one takes of it

STATES = st.builds(ConnectedUsers, st.frozensets(st.sampled_from([*users(*"abcdef")])), st.integers(0, 2))


@given(states=st.lists(st.tuples(STATES, st.booleans()), min_size=1, max_size=30))
def test_who_hears_all_or_asks_again_knows_who_is_there(states: list[tuple[ConnectedUsers, bool]]) -> None:
    telling, told = OwnUsers(count(1)), OtherUsers()
    for state, arrives in [*states, (states[-1][0], True), (states[-1][0], True)]:
        telling.asked(whole="n" in told.incomplete)
        tell = telling.next("n", state)
        if tell is not None and arrives:
            told.hear(tell)
            if "n" not in told.incomplete:
                assert told.count(NOBODY) == len(state.users) + state.unverified
    if tell is None:  # it has told that nobody is there, or that was lost: then it counts as gone
        for _ in range(SILENT_TICKS + 1):
            told.tick()
    assert told.count(NOBODY) == len(state.users) + state.unverified
    assert "n" not in told.incomplete


def test_a_message_that_was_lost_is_noticed_also_when_nobody_was_there_before_it() -> None:
    telling, told = OwnUsers(count(1)), OtherUsers()
    states = [("a", True), ("a", True), ("", False), ("", False), ("a", False), ("ab", False), ("ab", True)]
    for names, arrives in states:
        tell = telling.next("n", ConnectedUsers(users(*names), 0))
        if tell is not None and arrives:
            told.hear(tell)
    assert told.incomplete == {"n"}


def test_a_user_of_several_nodes_counts_once_and_unverified_connections_each_time() -> None:
    told = OtherUsers()
    for node in "xy":
        tell = OwnUsers(count(1)).next(node, ConnectedUsers(users("ada", node), 2))
        assert tell is not None
        assert told.hear(tell)
        assert told.hear(tell), "all users again: nobody compares"
    assert told.count(ConnectedUsers(users("ada", "bob"), 1)) == 4 + 5


def test_a_node_that_tells_nothing_is_gone_and_one_without_news_is_not() -> None:
    told, telling = OtherUsers(), OwnUsers(count(1))
    for node in ("silent", "there"):
        tell = (telling if node == "there" else OwnUsers(count(1))).next(node, ConnectedUsers(users(node), 0))
        assert tell is not None
        told.hear(tell)
    for _ in range(SILENT_TICKS):
        assert not told.tick()
        tell = telling.next("there", ConnectedUsers(users("there"), 0))
        assert tell is not None
        assert not told.hear(tell)
        assert not tell.came
    assert told.tick()
    assert told.count(NOBODY) == 1


def test_a_node_of_which_only_news_were_heard_is_asked_until_it_is_gone() -> None:
    told, telling = OtherUsers(), OwnUsers(count(1))
    telling.next("n", ConnectedUsers(users("a"), 0))
    tell = telling.next("n", ConnectedUsers(users("a", "b"), 0))
    assert tell is not None
    assert not told.hear(tell)
    assert told.incomplete == {"n"}
    assert told.count(NOBODY) == 0
    for _ in range(SILENT_TICKS + 1):
        told.tick()
    assert not told.incomplete


def test_a_node_tells_for_a_while_after_it_was_asked() -> None:
    telling = OwnUsers(count(1))
    for _ in range(2):
        telling.asked(whole=False)
        assert [telling.tick() for _ in range(ASKED_TICKS)] == [*[True] * (ASKED_TICKS - 1), False]


# nodes on a bus


class Node:
    def __init__(self, bus: Bus, name: str) -> None:
        self.bus = bus
        self.time = VirtualTime()
        self.metrics = AnalyticsMetrics(bus, later=self.time.later)
        self.told: list[float] = []
        assert self.metrics._cluster is not None
        self.metrics._cluster._seconds = 0.02
        self.running: asyncio.Task[None] | None = None

    def run(self) -> None:
        self.running = asyncio.create_task(self.metrics.run())

    async def kill(self) -> None:
        assert self.running is not None
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)

    def enter(self, *names: str, project: str = "p", verified: bool = True) -> None:
        for name in names:
            self.metrics.entered(Identity(project, name, verified=verified))

    def leave(self, *names: str, project: str = "p", verified: bool = True) -> None:
        for name in names:
            self.metrics.left(Identity(project, name, verified=verified))

    def watch(self, project: str = "p") -> Any:
        return self.metrics.subscribe(project, "active_users", self.told.append)

    def counts(self, count: int, project: str = "p") -> bool:
        """Whether that is the number, and listeners get it."""
        self.time.pass_by(1)
        return self.metrics.active_users(project) == count and (not self.told or self.told[-1] == count)


@asynccontextmanager
async def nodes(*buses: Bus) -> AsyncIterator[list[Node]]:
    made = [Node(bus, f"n{number}") for number, bus in enumerate(buses)]
    for node in made:
        await node.bus.open("users")
        await until(lambda node=node: not node.bus.lost)  # type: ignore[misc]
        node.run()
    await asyncio.sleep(0)
    yield made
    for node in made:
        await node.kill()
        await node.bus.close()


@pytest.fixture
def hub() -> MemoryHub:
    return MemoryHub()


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.slow)])
async def three(request: pytest.FixtureRequest, hub: MemoryHub) -> AsyncIterator[list[Node]]:
    if request.param == "memory":
        buses: list[Bus] = [hub.bus() for _ in range(3)]
    else:
        url = request.getfixturevalue("redis").database()
        buses = [RedisBus(url) for _ in range(3)]
    async with nodes(*buses) as made:
        yield made


async def test_v4_the_number_is_that_of_the_cluster(three: list[Node]) -> None:
    one, two, last = three
    one.enter("ada")
    two.enter("ada", "bob", "bob")
    two.enter("x", "y", verified=False)
    two.enter("eve", project="q")
    end = one.watch()
    assert one.told == [1], "at once, as far as it is known"
    await until(lambda: one.counts(4))
    last.enter("zoe")
    await until(lambda: one.counts(5))
    two.leave("bob")
    two.leave("x", verified=False)
    await until(lambda: one.counts(4))
    last.watch()
    await until(lambda: last.counts(4))
    end()
    end()
    two.leave("bob")
    await until(lambda: last.counts(3))
    one.watch()
    await until(lambda: one.counts(3))


async def test_a_node_that_has_died_is_no_longer_counted(three: list[Node]) -> None:
    one, two, last = three
    two.enter("bob")
    last.enter("zoe")
    one.watch()
    await until(lambda: one.counts(2))
    await two.kill()
    await until(lambda: one.counts(1))
    two.run()
    await until(lambda: one.counts(2))


async def test_where_nobody_watches_nothing_is_told(hub: MemoryHub) -> None:
    async with nodes(hub.bus(), hub.bus()) as (one, two):
        one.enter("ada")
        two.enter("bob")
        await asyncio.sleep(0.1)
        assert two.bus.counts.published == one.bus.counts.published == 0
        end = one.watch()
        await until(lambda: one.counts(2))
        end()
        await until(lambda: not two.metrics._cluster._telling)  # type: ignore[union-attr]
        sent = one.bus.counts.published, two.bus.counts.published
        await asyncio.sleep(0.1)
        assert (one.bus.counts.published, two.bus.counts.published) == sent
        assert hub.subscribed() == 2, "to the questions"


async def test_while_the_bus_is_lost_the_last_number_stands(hub: MemoryHub) -> None:
    async with nodes(hub.bus(), hub.bus()) as (one, two):
        two.enter("bob", "eve")
        one.watch()
        await until(lambda: one.counts(2))
        hub.cut()
        two.leave("bob")
        one.enter("ada")
        await asyncio.sleep(0.02 * (SILENT_TICKS + 3))
        assert one.counts(3)
        hub.heal()
        await until(lambda: one.counts(2))


async def test_messages_that_get_lost_do_no_harm_for_long() -> None:
    hub = MemoryHub(seed=1, loss=0.4)
    async with nodes(*(hub.bus() for _ in range(3))) as (one, two, three):
        one.watch()
        for number in range(20):
            (two, three)[number % 2].enter(f"u{number}")
            await asyncio.sleep(0.01)
        hub.loss = 0.0
        await until(lambda: one.counts(20))


async def test_what_no_node_has_written_is_ignored(hub: MemoryHub) -> None:
    async with nodes(hub.bus(), hub.bus()) as (one, two):
        two.enter("bob")
        one.watch()
        await until(lambda: one.counts(1))
        for topic in ("users", "users/p"):
            for junk in (b"", b"junk", b"\x90", b"\x92\x01\x02"):
                two.bus.publish(topic, junk)
        two.enter("eve")
        await until(lambda: one.counts(2))


STEPS = st.lists(
    st.tuples(
        st.integers(0, 2), st.sampled_from(["enter", "leave", "watch", "unwatch", "turn"]), st.sampled_from("abc")
    ),
    max_size=40,
)


@given(steps=STEPS, loss=st.sampled_from([0.0, 0.3]))
@settings(max_examples=40)
def test_after_any_history_all_who_watch_have_the_same_number(steps: list[tuple[int, str, str]], loss: float) -> None:
    async def live() -> None:
        hub = MemoryHub(loss=loss)
        async with nodes(*(hub.bus() for _ in range(3))) as made:
            present: list[tuple[int, str]] = []
            watching: dict[int, Any] = {}
            for number, step, name in steps:
                if step == "enter":
                    made[number].enter(name)
                    present.append((number, name))
                elif step == "leave" and (number, name) in present:
                    made[number].leave(name)
                    present.remove((number, name))
                elif step == "watch" and number not in watching:
                    watching[number] = made[number].watch()
                elif step == "unwatch" and number in watching:
                    watching.pop(number)()
                else:
                    await asyncio.sleep(0.01)
            hub.loss = 0.0
            expected = len({name for _, name in present})
            for number in watching:
                await until(lambda number=number: made[number].counts(expected), 10)  # type: ignore[misc]

    asyncio.run(live())


def test_users_are_told_as_hashes() -> None:
    tell = OwnUsers(count(1)).next("n", ConnectedUsers(users("ada@example.com"), 0))
    assert tell is not None
    assert b"ada" not in cluster_users._encoder.encode(tell)
    assert [len(user) for user in tell.came] == [8]


def test_without_a_watcher_a_node_counts_itself() -> None:
    cluster = ClusterUsers(MemoryHub().bus(), lambda project: ConnectedUsers(users("ada"), 1), lambda project: None)
    assert cluster.count("p") == 2
