"""Nodes beat, see who lives, and declare dead who does not."""

import asyncio
from collections.abc import Sequence

import pytest

from collab.cluster.membership import LOOKS, Membership
from collab.errors import Unavailable
from collab.storage.base import StorageError
from collab.storage.memory import MemoryStorage
from collab.storage.memory_record import MemoryRecord
from collab.storage.nodes import Fenced, NodeRow


class Counted(MemoryStorage):
    """Counts looks, and can be away."""

    looks = 0
    away = False

    async def beat(self) -> None:
        if self.away:
            raise StorageError("cut")
        await super().beat()

    async def looked(self, more: int) -> None:
        upto = self.looks + more
        while self.looks < upto:
            await asyncio.sleep(0)

    async def nodes(self) -> Sequence[NodeRow]:
        self.looks += 1
        return await super().nodes()


async def joined(record: MemoryRecord, url: str) -> Counted:
    storage = Counted(record=record, opens="join", url=url)
    await storage.open()
    return storage


async def run_for(membership: Membership, storage: Counted, looks: int) -> None:
    task = asyncio.create_task(membership.run())
    await storage.looked(looks)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def living(membership: Membership) -> Sequence[int]:
    return [node.nid for node in membership.others]


async def test_a_node_that_is_silent_is_declared_dead_and_one_that_beats_is_not() -> None:
    record = MemoryRecord()
    first, second, third = [await joined(record, f"http://node{number}") for number in range(3)]
    other = Membership(second, "b", seconds=0)
    beating = asyncio.create_task(other.run())
    watching = Membership(first, "a", seconds=0)
    await run_for(watching, first, 3 * LOOKS)
    assert living(watching) == [second.nid]
    assert watching.deaths + other.deaths == 1
    with pytest.raises(Fenced):
        await third.commit([])
    beating.cancel()
    await asyncio.gather(beating, return_exceptions=True)


async def test_who_cannot_reach_the_record_declares_nobody_dead() -> None:
    record = MemoryRecord()
    first, second = await joined(record, "http://a"), await joined(record, "http://b")
    watching = Membership(first, "a", seconds=0)
    task = asyncio.create_task(watching.run())
    await first.looked(2)
    first.away = True
    for _ in range(50):
        await asyncio.sleep(0)
    assert watching.deaths == 0
    first.away = False
    await first.looked(3 * LOOKS)
    assert watching.deaths == 1
    assert second.nid not in living(watching)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_node_that_was_declared_dead_learns_it_with_its_next_beat() -> None:
    record = MemoryRecord()
    first, second = await joined(record, "http://a"), await joined(record, "http://b")
    await first.declare_dead(second.nid, 0)
    with pytest.raises(Fenced):
        await asyncio.wait_for(Membership(second, "b", seconds=0).run(), 5)


async def test_who_replaces_a_process_declares_that_dead_and_nobody_else() -> None:
    record = MemoryRecord()
    last, other = await joined(record, "http://a"), await joined(record, "http://b")
    storage = await joined(record, "http://a")
    name = next(node.name for node in await storage.nodes() if node.nid == last.nid)
    membership = Membership(storage, name)
    await membership.replace_predecessor()
    await membership.look()
    assert living(membership) == [other.nid]


async def test_the_url_of_a_node_is_known_as_soon_as_it_has_joined_and_until_it_is_dead() -> None:
    record = MemoryRecord()
    first = await joined(record, "http://a")
    membership = Membership(first, "a")
    await membership.look()
    second = await joined(record, "http://b")
    assert await membership.url_of(second.nid) == "http://b"
    await second.close()
    await membership.look()
    with pytest.raises(Unavailable, match="is gone"):
        await membership.url_of(second.nid)
