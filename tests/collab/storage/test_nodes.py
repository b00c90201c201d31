"""The records that several nodes may write fulfil collab.testing.nodes_contract."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from collab.storage.memory import MemoryStorage
from collab.storage.memory_record import MemoryRecord
from collab.storage.nodes import NodeStorage, Opens
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
