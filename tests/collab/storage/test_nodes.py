"""The records that several nodes may write fulfil collab.testing.nodes_contract."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from collab.storage.memory import MemoryStorage
from collab.storage.memory_record import MemoryRecord
from collab.storage.nodes import Announcement, NodeStorage, Opens
from collab.storage.postgres.storage import PostgresStorage
from collab.testing.nodes_contract import NodesContract
from tests.postgres import PostgresServer


class TestNodesInMemory(NodesContract):
    @pytest.fixture(autouse=True)
    def _record(self) -> None:
        self.record = MemoryRecord()

    def node(self, where: Path, opens: Opens = "join") -> NodeStorage:
        return MemoryStorage(record=self.record, opens=opens)


class TestNodesInPostgres(NodesContract):
    @pytest.fixture(autouse=True)
    def _database(self, postgres: PostgresServer) -> Iterator[None]:
        with postgres.records() as lend:
            self.url = lend()
            yield

    def node(self, where: Path, opens: Opens = "join") -> NodeStorage:
        return PostgresStorage(self.url, opens=opens)

    async def test_announcements_are_kept_for_an_hour_and_the_newest_until_the_next(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path, 1) as (node,):
            numbers = []
            for seconds in (3601, 3500, 0):
                numbers.append(await node.announce(Announcement("acme", "news", {})))
                connection = await asyncpg.connect(self.url)
                await connection.execute("UPDATE collab.announcements SET at = at - $1", float(seconds))
                await connection.close()
                assert await node.announced() == numbers[-1]
            assert [one.number for one in await node.announcements(0)] == numbers[1:]
            await node.announce(Announcement("acme", "news", {}))
            assert len(await node.announcements(0)) == 3

    async def test_an_announcement_is_not_seen_before_one_with_a_lower_number(self, tmp_path: Path) -> None:
        """Who looks in between would never see the lower one."""
        async with self.opened(tmp_path) as (one, two):
            connection = await asyncpg.connect(self.url)
            async with connection.transaction():  # slow to commit
                lower = await connection.fetchval("SELECT collab.announce_1($1, 'acme', 'news', '{}', 3600.0)", one.nid)
                higher = asyncio.create_task(two.announce(Announcement("acme", "news", {})))
                waiting = False
                while not waiting and not higher.done():
                    waiting = await connection.fetchval(
                        "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = 'advisory')"
                    )
                assert await one.announcements(0) == []
            assert await higher > lower
            assert [seen.number for seen in await one.announcements(0)] == [lower, await higher]
            await connection.close()
