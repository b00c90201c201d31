from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from collab.server.config.settings import Settings
from collab.server.process.scribe import Errand, send, store
from collab.storage.base import SetAside, StorageError
from collab.storage.nodes import NodeAddress
from collab.storage.postgres.storage import PostgresStorage
from collab.testing.storage_case import KEY
from tests.postgres import PostgresServer

ENTRY = SetAside(KEY, None, b"deadly", "ended a worker: SIGSEGV", 1.0)


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    with postgres.records() as lend:
        yield lend()


def errand(url: str) -> Errand:
    return Errand(Settings(database=url, redis="redis://127.0.0.1:1").to_json(), "scribe", [ENTRY])


async def test_a_scribe_stores_what_ended_a_worker_beside_the_nodes_that_live(url: str) -> None:
    node = PostgresStorage(url, joining=NodeAddress("node", "http://127.0.0.1:1", 1))
    await node.open()
    process = send(errand(url), dict(os.environ))
    assert process.wait(60) == 0
    await store(errand(url))
    assert list(await node.list_set_aside()) == [ENTRY], "once"
    assert [row.name for row in await node.nodes() if not row.dead] == ["node"]
    await node.beat()
    await node.close()


async def test_a_scribe_says_when_the_record_cannot_be_reached() -> None:
    with pytest.raises(StorageError):
        await store(errand("postgresql://127.0.0.1:1/nowhere"), patience=0.0)


async def test_a_record_of_one_server_needs_no_scribe(url: str) -> None:
    alone = Errand(Settings(data="data").to_json(), "scribe", [ENTRY])
    with pytest.raises(StorageError, match="one server only"):
        await store(alone)
