"""Every storage of ours keeps the contract of collab.testing.storage_contract."""

from pathlib import Path

from collab.storage.base import Storage
from collab.storage.memory import MemoryStorage
from collab.storage.sqlite import SqliteStorage
from collab.testing.storage_contract import StorageContract


class TestSqliteStorage(StorageContract):
    def make(self, where: Path) -> Storage:
        return SqliteStorage(where)


class TestMemoryStorage(StorageContract):
    durable = False

    def make(self, where: Path) -> Storage:
        return MemoryStorage()
