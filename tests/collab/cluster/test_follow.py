"""Every subscriber on every node gets every event once and in order, whatever the bus does."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collab.bus.memory import MemoryBus, MemoryHub
from collab.cluster.event_messages import LONGEST, topic_of, write_messages
from collab.errors import Restarting, Unavailable
from collab.event import EntityEvent
from collab.names import RoomKey
from collab.storage.base import Positions, StorageError
from collab.storage.memory import MemoryStorage
from collab.storage.memory_record import MemoryRecord
from tests.collab.cluster.feeds import PROJECT, Node, running, until, upto


class Storage(MemoryStorage):
    """Counts its reads, and fails while it is told to."""

    def __init__(self, record: MemoryRecord) -> None:
        super().__init__(opens="join", record=record)
        self.fails = False
        self.reads = 0
        self.slow = asyncio.Event()
        self.slow.set()

    async def positions(self, projects: Sequence[str] | None = None) -> Positions:
        await self.slow.wait()
        if self.fails:
            raise StorageError("away")
        return await super().positions(projects)

    async def events(self, project: str, after: int, **options: Any) -> Sequence[EntityEvent]:
        self.reads += 1
        if self.fails:
            raise StorageError("away")
        return await super().events(project, after, **options)


class Nodes:
    """Nodes of one record in memory, on one bus."""

    def __init__(self, count: int = 2, **options: Any) -> None:
        self.hub = MemoryHub()
        self.record = MemoryRecord()
        self.storages = [Storage(self.record) for _ in range(count)]
        self.all = [
            Node(f"n{number}", storage, self.hub.bus(), **options) for number, storage in enumerate(self.storages)
        ]

    def bus(self, number: int) -> MemoryBus:
        bus = self.all[number].bus
        assert isinstance(bus, MemoryBus)
        return bus


@asynccontextmanager
async def followed(**options: Any) -> AsyncIterator[tuple[Nodes, Node, Node]]:
    """Two nodes, of which the second one follows the project."""
    nodes = Nodes(**options)
    one, two = nodes.all
    async with running(one, two):
        await two.feed.follow(PROJECT)
        yield nodes, one, two


async def test_events_of_all_nodes_are_heard_in_order_by_who_follows() -> None:
    nodes = Nodes(3)
    one, two, three = nodes.all
    async with running(one, two, three):
        ends = [await node.feed.follow(PROJECT) for node in (one, two)]
        for turn in range(5):
            for node in nodes.all:
                await node.write(turn)
        await until(lambda: two.seen.get(PROJECT) == upto(15))
        assert one.seen[PROJECT] == upto(15)
        assert three.seen[PROJECT] == three.own[PROJECT] == [3, 6, 9, 12, 15], "nobody follows there"
        assert one.own[PROJECT] == [1, 4, 7, 10, 13]
        assert nodes.storages[1].reads == 5, "only our own"
        for end in ends:
            end()
            end()
        await until(lambda: not one.feed.projects and not two.feed.projects)
        assert nodes.hub.subscribed() == 0


async def test_the_position_is_right_and_nothing_is_missed_from_when_a_project_is_followed() -> None:
    nodes = Nodes()
    one, two = nodes.all
    async with running(one, two):
        for _ in range(3):
            await one.write()
        assert two.feed.position(PROJECT) == 0
        nodes.storages[1].slow.clear()
        following = asyncio.create_task(two.feed.follow(PROJECT))
        await asyncio.sleep(0)
        await one.write()  # heard before the position is read
        writing = asyncio.create_task(two.write())
        await asyncio.sleep(0.02)
        nodes.storages[1].slow.set()
        await following
        assert two.feed.position(PROJECT) == 5
        await writing
        await one.write()
        await until(lambda: two.feed.position(PROJECT) == 6)
        assert two.seen[PROJECT] == [5, 6]
        assert two.own[PROJECT] == [5]


async def test_events_that_are_committed_while_the_position_is_read_are_delivered() -> None:
    nodes = Nodes()
    one, two = nodes.all
    writes: list[asyncio.Task[EntityEvent]] = []

    class Late(Storage):
        async def positions(self, projects: Sequence[str] | None = None) -> Positions:
            found = await super().positions(projects)
            if projects is not None and not writes:
                await one.write()
                writes.append(asyncio.create_task(two.write()))
                await until(lambda: nodes.record.spans[PROJECT].newest == 3)
            return found

    late = two.storage = two.feed._storage = Late(nodes.record)
    two.recorder._storage = late
    async with running(one, two):
        await one.write()
        ending = await asyncio.wait_for(two.feed.follow(PROJECT), 5)
        await until(lambda: two.feed.position(PROJECT) == 3)
        assert two.seen[PROJECT] == [2, 3]
        assert (await writes[0]).position == 3
        ending()


async def test_a_writer_is_told_when_its_event_was_published_here() -> None:
    async with followed(patience=10.0, look_seconds=10.0) as (nodes, one, two):
        nodes.bus(1).set_cut(True)
        await one.write()
        writing = asyncio.create_task(two.write())
        other = await two.write(project="other")
        assert other.position == 1, "other projects do not wait"
        assert two.recorder.pending_bytes == 0, "editors are not held up either"
        assert two.seen.get(PROJECT) is None
        assert not writing.done()
        nodes.bus(1).set_cut(False)  # a look follows
        two.feed._patience = 0.0
        two.feed._followed[PROJECT].timer.cancel()  # type: ignore[union-attr]
        two.feed._followed[PROJECT].timer = None
        assert (await writing).position == 2
        assert two.seen[PROJECT] == [1, 2]
        assert two.own[PROJECT] == [2]


async def test_what_the_bus_loses_is_read_from_the_record() -> None:
    async with followed() as (nodes, one, two):
        nodes.hub.cut()
        for _ in range(3):
            await one.write()
        await until(lambda: two.seen.get(PROJECT) == upto(3))
        nodes.hub.heal()
        await one.write()
        await until(lambda: two.seen.get(PROJECT) == upto(4))


async def test_an_event_that_is_too_long_for_the_bus_is_read_from_the_record() -> None:
    async with followed(patience=10.0, look_seconds=10.0) as (_, one, two):
        await one.write(value="x" * LONGEST)
        await until(lambda: two.seen.get(PROJECT) == upto(1))


async def test_erased_events_leave_no_gap() -> None:
    async with followed() as (nodes, one, two):
        nodes.hub.cut()
        await one.write(1)
        await one.write(2)
        await one.write(1)
        await nodes.storages[0].erase([RoomKey(PROJECT, "tasks", "n0-1")])
        await until(lambda: two.feed.position(PROJECT) == 3)
        assert two.seen[PROJECT] in ([2], [1, 2], [1, 2, 3])
        nodes.hub.heal()
        await one.write(2)
        await until(lambda: two.feed.position(PROJECT) == 4)
        assert two.seen[PROJECT][-1] == 4


async def test_junk_is_counted_and_changes_nothing() -> None:
    async with followed() as (nodes, one, two):
        await one.write()
        far = EntityEvent(10**9, "created", "tasks", "t", 1, {"id": "t"}, {}, None, "now")
        for message in (b"junk", *write_messages([far])):
            nodes.bus(0).publish(topic_of(PROJECT), message)
        await until(lambda: two.feed.junk >= 2)
        await one.write()
        await until(lambda: two.seen.get(PROJECT) == upto(2))


async def test_a_cursor_ahead_of_this_node_is_waited_for_and_one_ahead_of_the_record_is_not() -> None:
    nodes = Nodes()
    one, two = nodes.all
    async with running(one, two):
        await one.feed.follow(PROJECT)
        await two.feed.follow(PROJECT)
        nodes.hub.cut()
        await one.write()
        cursor = one.feed.cursor(1)
        assert two.feed.parse(PROJECT, cursor) is None
        await two.feed.catch_up(PROJECT, cursor)
        assert two.feed.parse(PROJECT, cursor) == 1
        assert await two.feed.reached(PROJECT, 1)
        assert not await two.feed.reached(PROJECT, 10**15)
        await two.feed.catch_up(PROJECT, one.feed.cursor(10**15))
        assert two.feed.parse(PROJECT, one.feed.cursor(10**15)) is None
        await one.write()
        await until(lambda: two.seen.get(PROJECT) == upto(2))


async def test_a_project_that_nobody_follows_is_not_waited_for() -> None:
    nodes = Nodes()
    one, two = nodes.all
    async with running(one, two):
        await one.write()
        assert await two.feed.reached(PROJECT, 1)


async def test_while_the_storage_is_away_nothing_is_lost_and_who_waits_is_told() -> None:
    async with followed() as (nodes, one, two):
        nodes.hub.cut()
        await one.write()
        nodes.storages[1].fails = True
        with pytest.raises(Unavailable):
            await two.feed.reached(PROJECT, 1)
        with pytest.raises(StorageError):
            await two.feed.follow("other")
        assert two.feed.projects == [PROJECT]
        nodes.storages[1].fails = False
        await until(lambda: two.seen.get(PROJECT) == upto(1))
        await two.feed.follow("other")


async def test_a_project_is_followed_a_little_longer_than_it_is_needed() -> None:
    nodes = Nodes(linger=0.02)
    (one, two) = nodes.all
    async with running(one, two):
        first = await one.feed.follow(PROJECT)
        second = await one.feed.follow(PROJECT)
        first()
        await asyncio.sleep(0.05)
        assert one.feed.projects == [PROJECT]
        second()
        third = await one.feed.follow(PROJECT)
        await asyncio.sleep(0.05)
        assert one.feed.projects == [PROJECT]
        third()
        await until(lambda: not one.feed.projects)
        await two.write()
        await (await one.feed.follow(PROJECT), asyncio.sleep(0))[1]
        assert one.feed.position(PROJECT) == 1


async def test_who_gives_up_while_a_project_begins_to_be_followed_leaves_nothing_behind() -> None:
    nodes = Nodes()
    one, two = nodes.all
    async with running(one, two):
        nodes.storages[0].slow.clear()
        following = asyncio.create_task(one.feed.follow(PROJECT))
        await asyncio.sleep(0.01)
        following.cancel()
        with pytest.raises(asyncio.CancelledError):
            await following
        nodes.storages[0].slow.set()
        await until(lambda: not one.feed.projects)
        assert nodes.hub.subscribed() == 0


async def test_writers_are_told_at_the_end_though_others_are_not_heard() -> None:
    async with followed(patience=10.0, look_seconds=10.0) as (nodes, one, two):
        nodes.hub.cut()
        await one.write()
        writing = asyncio.create_task(two.write())
        await until(lambda: bool(two.feed._followed[PROJECT].own))
    await writing
    assert two.seen[PROJECT] == [2]
    with pytest.raises(Restarting):
        await two.feed.follow(PROJECT)


async def test_a_record_that_lost_events_is_followed_from_where_it_is() -> None:
    nodes = Nodes()
    one, two = nodes.all
    async with running(one, two):
        for node in nodes.all:
            await node.feed.follow(PROJECT)
        for _ in range(3):
            await one.write()
        await until(lambda: two.feed.position(PROJECT) == 3)
        del nodes.record.events[PROJECT][3]
        nodes.record.spans[PROJECT] = nodes.record.spans[PROJECT]._replace(newest=2)
        await until(lambda: two.feed.position(PROJECT) == 2 and one.feed.position(PROJECT) == 2)
        await two.write()
        await until(lambda: one.seen[PROJECT] == [1, 2, 3, 3])


delays = st.sampled_from([0.0, 0.002, 0.02])


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.floats(0, 0.9), delays, st.integers(2, 4), st.booleans())
def test_every_subscriber_on_every_node_sees_each_position_once_in_order(
    seed: int, loss: float, delay: float, count: int, cuts: bool
) -> None:
    asyncio.run(history(seed, loss, delay, count, cuts))


async def history(seed: int, loss: float, delay: float, count: int, cuts: bool) -> None:
    """Nodes write at once, while messages are lost and late, nodes are cut off, and followers come and go."""
    chance = random.Random(seed)
    nodes = Nodes(count, patience=0.002, look_seconds=0.02, linger=0.01)
    nodes.hub.chance.seed(seed)
    nodes.hub.loss = loss
    nodes.hub.delay = lambda drawn: drawn.random() * delay
    projects = ("a", "b")
    done = asyncio.Event()

    async def write(node: Node) -> None:
        for _ in range(15):
            project = chance.choice(projects)
            event = await node.write(chance.randrange(3), project=project)
            assert event.position in node.seen[project], "who hears of his write has been sent its event"
            await asyncio.sleep(chance.random() * 0.003)

    async def cut() -> None:
        while not done.is_set():
            node = chance.choice(nodes.all)
            bus = node.bus
            assert isinstance(bus, MemoryBus)
            bus.set_cut(True)
            await asyncio.sleep(chance.random() * 0.01)
            bus.set_cut(False)
            await asyncio.sleep(chance.random() * 0.01)

    async def subscribe(node: Node) -> None:
        """Come, resume from the last cursor, and go: what was seen and what was read are all events, once."""
        got: list[int] = []
        last = 0
        while True:
            end = await node.feed.follow("a")
            await node.feed.catch_up("a", node.feed.cursor(last))
            now = node.feed.position("a")
            assert node.feed.parse("a", node.feed.cursor(last)) == last
            got += [
                event.position for event in await node.storage.events("a", last, limit=1000) if event.position <= now
            ]
            live: list[int] = []
            close = node.feed.subscribe(
                lambda project, event, live=live: live.append(event.position) if project == "a" else None  # type: ignore[misc]
            )
            got += [position for position in live if position > now]
            ended = done.is_set()
            await asyncio.sleep(chance.random() * 0.02)
            if ended:
                newest = (await node.storage.positions()).of("a")
                assert await asyncio.wait_for(node.feed.reached("a", newest), 5)
            close()
            got += live
            last = max(node.feed.position("a"), now)
            end()
            if ended:
                assert got == upto(len(got))
                return

    async with running(*nodes.all):
        ends = [await node.feed.follow(project) for node in nodes.all[:-1] for project in projects]
        readers = [asyncio.create_task(subscribe(node)) for node in nodes.all]
        cutting = asyncio.create_task(cut() if cuts else asyncio.sleep(0))
        await asyncio.gather(*(write(node) for node in nodes.all))
        done.set()
        await asyncio.gather(cutting, *readers)
        for project in projects:
            newest = (await nodes.storages[0].positions()).of(project)
            for node in nodes.all[:-1]:
                assert await asyncio.wait_for(node.feed.reached(project, newest), 5)
                assert node.seen.get(project, []) == upto(newest)
                assert await own(node, project) == node.own.get(project, [])
        for end in ends:
            end()


async def own(node: Node, project: str) -> Collection[int]:
    """The positions of the events that a node wrote, from the record."""
    events = await node.storage.events(project, 0, limit=10_000)
    return [event.position for event in events if event.id.startswith(f"{node.name}-")]


async def test_who_waits_for_an_event_that_was_committed_during_a_look_gets_it() -> None:
    """He is told what he has written after he was sent its event."""
    record, hub = MemoryRecord(), MemoryHub()
    looked, go_on = asyncio.Event(), asyncio.Event()

    class Slow(Storage):
        async def positions(self, projects: Sequence[str] | None = None) -> Positions:
            found = await super().positions(projects)
            if projects is not None and slow:
                looked.set()
                await go_on.wait()
            return found

    slow = False
    one = Node("one", Storage(record), MemoryHub().bus())
    two = Node("two", Slow(record), hub.bus(), look_seconds=1000.0)
    async with running(one, two):
        await two.feed.follow(PROJECT)
        slow = True
        first = await one.write()
        waiting = asyncio.create_task(two.feed.reached(PROJECT, 1))
        await looked.wait()
        for message in write_messages([first]):  # it is heard after all
            two.bus.publish(topic_of(PROJECT), message)
        assert await waiting
        await one.write()
        later = asyncio.create_task(two.feed.reached(PROJECT, 2))
        await asyncio.sleep(0)
        go_on.set()
        assert await later
        assert two.seen[PROJECT] == [1, 2]
