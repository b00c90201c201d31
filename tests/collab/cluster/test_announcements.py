"""What one node announces is heard by all, once, whether or not the bus works."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from collab.bus.memory import MemoryBus, MemoryHub
from collab.cluster.announcements import ClusterAnnouncements
from collab.records.declaration import declaration
from collab.storage.base import StorageError
from collab.storage.memory import MemoryStorage
from collab.storage.memory_record import MemoryRecord
from collab.storage.nodes import Announced, Announcement, Fenced
from collab.testing.bus_contract import until
from tests.collab.cluster.nodes_world import cluster
from tests.valkey import serving

FAST = 0.01


class Storage(MemoryStorage):
    """A storage that can be away, and lose its answers."""

    away = False
    loses_answers = False

    async def announce(self, announcement: Announcement) -> int:
        if self.away:
            raise StorageError("away")
        number = await super().announce(announcement)
        await asyncio.sleep(0)
        if self.loses_answers:
            raise StorageError("no answer")
        return number

    async def announcements(self, after: int, limit: int = 1000) -> list[Announced]:
        if self.away:
            raise StorageError("away")
        return [*await super().announcements(after, limit)]


class Node:
    def __init__(self, record: MemoryRecord, hub: MemoryHub, seconds: float) -> None:
        self.storage = Storage(record=record, opens="join")
        self.bus: MemoryBus = hub.bus()
        self.announcements = ClusterAnnouncements(self.storage, self.bus, seconds=seconds)
        self.heard: list[Any] = []
        self.announcements.on("news", self.hear)

    async def hear(self, announcement: Announcement) -> None:
        self.heard.append(announcement.body["n"])
        if announcement.body["n"] == "fail":
            raise ValueError("a listener failed")

    async def announce(self, n: object, project: str | None = "p") -> None:
        await self.announcements.announce(Announcement(project, "news", {"n": n}))


@asynccontextmanager
async def nodes(count: int, seconds: float) -> AsyncIterator[list[Node]]:
    record, hub = MemoryRecord(), MemoryHub()
    made = [Node(record, hub, seconds) for _ in range(count)]
    for node in made:
        await node.storage.open()
        await node.bus.open()
        await node.announcements.start()
    running = [asyncio.create_task(node.announcements.run()) for node in made]
    await until(lambda: hub.subscribed() == count)
    await asyncio.sleep(0)
    yield made
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    assert not hub.subscribed()


async def test_each_node_hears_an_announcement_once_when_somebody_rings() -> None:
    async with nodes(3, seconds=1000) as (one, two, three):
        await one.announce(1)
        assert one.heard == [1], "who announces it has heard it when that returns"
        await two.announce(2)
        await until(lambda: all(len(node.heard) == 2 for node in (one, two, three)))
        await asyncio.gather(*(node.announce(n) for n in range(3, 30) for node in (one, two, three)))
        everything = [1, 2, *sorted([*range(3, 30)] * 3)]
        await until(lambda: all(len(node.heard) >= len(everything) for node in (one, two, three)))
        assert [sorted(node.heard) for node in (one, two, three)] == [everything] * 3
        assert not one.announcements._mine


async def test_other_nodes_do_not_wait_for_what_an_announcement_causes_on_the_first_one() -> None:
    async with nodes(2, seconds=1000) as (one, two):
        goes_on = asyncio.Event()

        async def takes_long(announcement: Announcement) -> None:
            await goes_on.wait()

        one.announcements.on("news", takes_long)
        announcing = asyncio.create_task(one.announce(1))
        await until(lambda: two.heard == [1])
        assert not announcing.done()
        goes_on.set()
        await announcing


async def test_without_the_bus_each_node_looks() -> None:
    async with nodes(2, seconds=FAST) as (one, two):
        one.bus.set_cut(True)
        two.bus.set_cut(True)
        await one.announce(1)
        await until(lambda: two.heard == [1])
        assert one.heard == [1]


async def test_a_node_looks_when_its_bus_is_back() -> None:
    async with nodes(2, seconds=1000) as (one, two):
        two.bus.set_cut(True)
        await asyncio.sleep(0.01)
        await one.announce(1)
        await asyncio.sleep(0.01)
        assert two.heard == []
        two.bus.set_cut(False)
        await until(lambda: two.heard == [1])


async def test_an_announcement_that_is_not_written_is_heard_here_and_the_caller_knows() -> None:
    async with nodes(2, seconds=FAST) as (one, two):
        one.storage.away = True
        with pytest.raises(StorageError):
            await one.announce(1)
        assert one.heard == [1]
        one.storage.away = False
        await one.announce(1)
        await until(lambda: two.heard == [1])
        one.storage.loses_answers = True
        with pytest.raises(StorageError):
            await one.announce(2)
        await until(lambda: two.heard == [1, 2] and one.heard == [1, 1, 2, 2])


async def test_a_storage_that_was_away_is_looked_at_again() -> None:
    async with nodes(2, seconds=FAST) as (one, two):
        two.storage.away = True
        await one.announce(1)
        await asyncio.sleep(3 * FAST)
        assert two.heard == []
        two.storage.away = False
        await until(lambda: two.heard == [1])


async def test_a_listener_that_fails_and_what_nobody_knows_keep_nobody_from_the_rest() -> None:
    async with nodes(2, seconds=FAST) as (one, two):
        await two.storage.announce(Announcement("p", "of a later version", {}))
        await two.storage.announce(Announcement("p", "news", {"n": "fail"}))
        await two.announce(1)
        await until(lambda: one.heard == ["fail", 1])


async def test_more_than_one_look_takes_are_all_heard() -> None:
    async with nodes(2, seconds=1000) as (one, two):
        for n in range(2500):
            await two.storage.announce(Announcement(None, "news", {"n": n}))
        two.bus.publish("announcements", b"")
        await until(lambda: len(one.heard) == len(two.heard) == 2500)
        assert one.heard == [*range(2500)]


async def test_a_node_that_starts_hears_nothing_from_before() -> None:
    async with nodes(1, seconds=FAST) as (one,):
        await one.announce(1)
        late = Node(one.storage._record, MemoryHub(), FAST)
        await late.storage.open()
        await late.announcements.start()
        await one.announce(2)
        await late.announcements.look()
        await until(lambda: late.heard == [2])


async def test_who_was_declared_dead_announces_nothing() -> None:
    async with nodes(2, seconds=FAST) as (one, two):
        assert await two.storage.declare_dead(one.storage.nid, 0)
        with pytest.raises(Fenced):
            await one.announce(1)
        await two.announce(2)
        await until(lambda: two.heard == [2])


async def test_what_is_announced_in_memory_is_kept_for_an_hour() -> None:
    now = [1000.0]
    storage = MemoryStorage(clock=lambda: now[0])
    await storage.open()
    numbers = []
    for _ in range(3):
        numbers.append(await storage.announce(Announcement("p", "news", {})))
        now[0] += 3000
    assert [one.number for one in await storage.announcements(0)] == numbers[1:]
    assert await storage.announced() == numbers[-1]


@pytest.mark.slow
@pytest.mark.parametrize("with_redis", [True, False])
async def test_changed_rights_and_schemas_reach_the_other_nodes(with_redis: bool) -> None:
    with serving() as valkey:
        if not with_redis:
            valkey.kill()
        async with cluster(2, redis=valkey.url) as world:
            one, two = (node.collab for node in world.nodes)
            if with_redis:
                await until(lambda: b"collab_bus_lost 0.0" in two.metrics.render())
            heard: list[dict[str, Any]] = []
            checked: list[tuple[str, str | None]] = []
            two.hub.system.subscribe("acme", "permissions_changed", heard.append, user_id="ada")
            two.hub.system.subscribe("acme", "schema_updated", heard.append)
            recheck = two.rights.recheck

            async def spy(project: str, user_id: str | None) -> None:
                checked.append((project, user_id))
                await recheck(project, user_id)

            two.rights.recheck = spy  # type: ignore[method-assign]
            await one.permissions_changed("acme", user_id="ada", resource="tasks/t1")
            await one.permissions_changed("acme", user_id="bob")
            await one.hub.declare("tasks", declaration(fields={"type": "object"}))
            await until(lambda: len(heard) == 2 and len(checked) == 2)
            assert [(event["type"], event.get("resourceId"), event.get("entityName")) for event in heard] == [
                ("permissions_changed", "tasks/t1", None),
                ("schema_updated", None, "tasks"),
            ]
            assert sorted(checked) == [("acme", "ada"), ("acme", "bob")]
