"""A node asks the record who owns a room, remembers others' for a moment, and gives back what it needs no longer."""

import asyncio
from collections.abc import Sequence

import pytest

from collab.cluster.ownership import NodeOwnership
from collab.errors import Elsewhere
from collab.names import RoomKey
from collab.storage.base import StorageError
from collab.storage.memory import MemoryStorage
from collab.storage.memory_record import MemoryRecord

KEY = RoomKey("acme", "documents", "d1")


class Slow(MemoryStorage):
    """Counts questions, and gives back only when it is told to."""

    asked = 0

    def __init__(self, record: MemoryRecord) -> None:
        super().__init__(record=record, opens="join")
        self.returns = asyncio.Event()
        self.returns.set()

    async def acquire(self, key: RoomKey) -> int:
        self.asked += 1
        return await super().acquire(key)

    async def release(self, keys: Sequence[RoomKey]) -> None:
        await self.returns.wait()
        await super().release(keys)


async def two() -> tuple[Slow, Slow]:
    record = MemoryRecord()
    nodes = Slow(record), Slow(record)
    for node in nodes:
        await node.open()
    return nodes


async def test_a_room_that_another_node_owns_is_elsewhere_until_that_gives_it_back() -> None:
    first, second = await two()
    mine, others = NodeOwnership(first), NodeOwnership(second)
    await mine.acquire(KEY)
    with pytest.raises(Elsewhere) as elsewhere:
        await others.acquire(KEY)
    assert elsewhere.value.nid == first.nid
    await mine.give_back([KEY])
    others.forget(KEY)
    await others.acquire(KEY)
    with pytest.raises(Elsewhere):
        await mine.acquire(KEY)


async def test_the_owner_of_another_room_is_remembered_for_a_moment() -> None:
    first, second = await two()
    now = 0.0
    others = NodeOwnership(second, clock=lambda: now)
    await NodeOwnership(first).acquire(KEY)
    for _ in range(3):
        with pytest.raises(Elsewhere):
            await others.acquire(KEY)
    assert second.asked == 1
    now = 10.0
    with pytest.raises(Elsewhere):
        await others.acquire(KEY)
    assert second.asked == 2


async def test_a_room_is_not_acquired_while_it_is_being_given_back() -> None:
    """Else the answer to the question would be older than the return, and two nodes would open the room."""
    first, second = await two()
    mine = NodeOwnership(first)
    await mine.acquire(KEY)
    first.returns.clear()
    returning = mine.give_back([KEY])  # whoever comes from now on waits, even if it has not begun yet
    again = asyncio.create_task(mine.acquire(KEY))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not again.done()
    assert first.asked == 1
    first.returns.set()
    await returning
    await again
    with pytest.raises(Elsewhere):
        await NodeOwnership(second).acquire(KEY)


async def test_a_storage_that_fails_leaves_a_room_with_its_node_which_opens_it_again() -> None:
    class Failing(Slow):
        async def release(self, keys: Sequence[RoomKey]) -> None:
            raise StorageError("the database is away")

    node = Failing(MemoryRecord())
    await node.open()
    mine = NodeOwnership(node)
    await mine.acquire(KEY)
    await mine.give_back([KEY])
    await mine.acquire(KEY)
