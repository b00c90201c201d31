"""Each of our storages fulfils collab.testing.storage_contract."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from collab.storage.base import Storage
from collab.storage.memory import MemoryStorage
from collab.storage.postgres.storage import PostgresStorage
from collab.storage.sqlite.storage import SqliteStorage
from collab.testing.storage_contract import StorageContract
from tests.postgres import PostgresServer


class TestSqliteStorage(StorageContract):
    def make(self, where: Path) -> Storage:
        return SqliteStorage(where)


class TestMemoryStorage(StorageContract):
    durable = False

    def make(self, where: Path) -> Storage:
        return MemoryStorage()


class TestPostgresStorage(StorageContract):
    @pytest.fixture(autouse=True)
    def _databases(self, postgres: PostgresServer) -> Iterator[None]:
        with postgres.records() as lend:
            self.lend = lend
            self.urls: dict[Path, str] = {}
            yield

    def make(self, where: Path) -> Storage:
        if where not in self.urls:
            self.urls[where] = self.lend()
        return PostgresStorage(self.urls[where])
