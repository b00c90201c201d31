"""The server is killed while transactions are made: of each there is all, or nothing, and each has effect once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pycrdt
import pytest

from collab.client import LumenizeClient
from tests.chaos.durability import kill_worker, start, until
from tests.e2e.server import Server
from tests.postgres import PostgresServer

pytestmark = pytest.mark.chaos

NAMES = [f"t{number}" for number in range(5)]
QUICK = {"initial_delay": 20, "max_delay": 100}


def client_of(server: Server) -> LumenizeClient:
    return LumenizeClient(url=f"http://{server.host}:{server.port}", websocket=QUICK)


class Pairs:
    """Writes the same number into all tasks, again and again."""

    def __init__(self, client: LumenizeClient, number: int) -> None:
        self._client = client
        self._number = number
        self.made = 0
        self.acknowledged = 0
        self.writing = True

    async def run(self) -> None:
        while self.writing:
            self.made += 1
            transaction = self._client.transaction()
            for name in NAMES:
                transaction.update("tasks", name, {"n": self.made, "by": self._number})
            for entity in await transaction.commit():
                assert entity["n"] == self.made or entity.conflicts
            self.acknowledged += 1


def _have_made(writers: list[Pairs], count: int) -> bool:
    return sum(one.acknowledged for one in writers) >= count


def _holds(fields: pycrdt.Map[Any], n: int) -> bool:
    return bool(fields["n"] == n)


async def numbers(client: LumenizeClient) -> set[tuple[Any, Any]]:
    """What the tasks hold, in one look at the record."""
    return {(row["n"], row["by"]) for row in await client.tasks.find_many({"where": {"id": {"in": NAMES}}})}


async def kill_rounds(server: Server, rounds: int, seed: int) -> int:
    """Kill the worker in each round. Returns how many transactions were acknowledged."""
    chance = Random(seed)
    async with AsyncExitStack() as stack:
        writers = [Pairs(await stack.enter_async_context(client_of(server)), number) for number in range(1, 4)]
        reader = await stack.enter_async_context(client_of(server))
        setup = reader.transaction()
        for name in NAMES:
            setup.create("tasks", {"n": 0, "by": 0}, id=name)
        await setup.commit()
        # editors bring back what they got before a crash: there must be no half of a transaction among it
        editor = await stack.enter_async_context(client_of(server))
        documents = [await stack.enter_async_context(editor.tasks.open(name)) for name in NAMES]
        work = [asyncio.create_task(writer.run()) for writer in writers]
        for _ in range(rounds):
            wanted = sum(writer.acknowledged for writer in writers) + chance.randrange(1, 12)
            await until(partial(_have_made, writers, wanted), "transactions")
            kill_worker(server)
            for _ in range(5):
                assert len(await numbers(reader)) == 1
        for writer in writers:
            writer.writing = False
        await asyncio.gather(*work)
        [(n, _)] = await numbers(reader)
        assert n > 0
        acknowledged = sum(writer.acknowledged for writer in writers)
        for name in NAMES:
            assert (await reader.tasks.find_by_id(name)).version == 1 + acknowledged
        for document in documents:
            await document.until_synced()
            fields = document.doc.get("fields", type=pycrdt.Map)
            await until(partial(_holds, fields, n), "the last transaction")
        return acknowledged


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    server = Server(tmp_path)
    await start(server)
    yield server
    server.stop()


async def test_a38_a39_kills_leave_no_half_of_a_transaction_and_make_none_twice(server: Server) -> None:
    assert await kill_rounds(server, rounds=8, seed=1) > 8


async def test_a38_a39_kills_of_a_server_on_postgresql_leave_no_half_of_a_transaction(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    with postgres.records() as lend:
        server = Server(tmp_path, database=lend())
        await start(server)
        try:
            assert await kill_rounds(server, rounds=4, seed=2) > 4
        finally:
            server.stop()
