"""A server beats until it is declared dead, whatever happens to its storage meanwhile."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from collab.server.app import Collab
from collab.server.config.settings import Settings
from collab.server.heartbeat import beat
from collab.storage.base import StorageError
from collab.storage.memory import MemoryStorage
from collab.storage.memory_record import MemoryRecord
from collab.storage.nodes import Fenced


class Flaky(MemoryStorage):
    """Counts the attempts to beat, and can fail."""

    attempts = 0
    away = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.fenced: list[Fenced] = []

    async def beat(self) -> None:
        self.attempts += 1
        if self.away:
            raise StorageError("cut")
        await super().beat()

    async def beaten(self, more: int = 1) -> int:
        """The beats of this node, after some more attempts."""
        upto = self.attempts + more
        while self.attempts < upto:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        return next(node.beats for node in await self.nodes() if node.nid == self.nid)


@asynccontextmanager
async def beating(node: Flaky) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(beat(node, node.fenced.append, seconds=0.001))
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_server_beats_while_it_runs() -> None:
    storage = MemoryStorage()
    async with Collab(Settings(), storage=storage).lifespan():
        while not (await storage.nodes())[0].beats:
            await asyncio.sleep(0.001)


async def test_a_storage_that_is_away_is_told_once_and_beaten_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    node = Flaky()
    async with beating(node):
        before = await node.beaten(2)
        node.away = True
        assert await node.beaten(3) <= before + 1
        node.away = False
        assert await node.beaten(3) > before + 1
    assert [record.levelname for record in caplog.records] == ["INFO"]


async def test_a_server_that_was_declared_dead_says_so_and_beats_no_more(caplog: pytest.LogCaptureFixture) -> None:
    record = MemoryRecord()
    node = Flaky(record=record, opens="join")
    await node.open()
    async with beating(node) as task:
        await node.beaten()
        successor = MemoryStorage(record=record)
        await successor.open()
        await task
    assert len(node.fenced) == 1
    assert [record.message.partition(":")[0] for record in caplog.records] == ["this server was declared dead"]


async def test_a_server_whose_place_was_taken_is_not_ready_even_if_nobody_writes() -> None:
    record = MemoryRecord()
    storage = MemoryStorage(record=record)
    collab = Collab(Settings(), storage=storage)
    async with collab.lifespan():
        assert collab.unready() is None
        successor = MemoryStorage(record=record)
        await successor.open()
        async with asyncio.timeout(10):
            while collab.unready() is None:
                await asyncio.sleep(0.01)
        assert collab.unready() == "another server has taken its place"
