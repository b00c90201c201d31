"""The WAL is copied beside commits, and stays small."""

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from collab.storage.base import StorageError
from collab.storage.sqlite import database as sqlite_database
from collab.storage.sqlite.checkpoints import WAL_BYTES, Checkpoints
from collab.storage.sqlite.storage import SqliteStorage
from collab.testing.storage_case import KEY, entry, updates
from tests.collab.storage.database import opened, raw

_BLOB = bytes(range(256)) * 1024


def wal_of(folder: Path) -> int:
    return (folder / "collab.db-wal").stat().st_size


async def write(storage: SqliteStorage, size: int) -> int:
    """Commit so many bytes; returns the number of commits."""
    count = size // len(_BLOB)
    for _ in range(count):
        await storage.commit([entry(_BLOB)])
    return count


async def until_copied(storage: SqliteStorage) -> None:
    while storage._database._copying is not None:
        await asyncio.sleep(0.001)


async def write_until_small(storage: SqliteStorage, folder: Path) -> int:
    """Commit until the WAL has begun anew; returns the number of commits, which is not large."""
    count = 0
    while wal_of(folder) > WAL_BYTES:
        count += await write(storage, len(_BLOB))
        await until_copied(storage)
        assert count * len(_BLOB) < 2 * WAL_BYTES
    return count


async def test_commits_go_on_while_the_wal_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, copy = threading.Event(), Checkpoints.copy

    def slow(self: Checkpoints) -> bool:
        assert go_on.wait(60)
        return copy(self)

    monkeypatch.setattr(Checkpoints, "copy", slow)
    async with opened(tmp_path) as storage:
        await write(storage, 2 * WAL_BYTES)
        assert wal_of(tmp_path) > WAL_BYTES
        go_on.set()
        await write_until_small(storage, tmp_path)


async def test_the_wal_stays_small_however_much_is_written(tmp_path: Path) -> None:
    async with opened(tmp_path) as storage:
        largest = count = 0
        for _ in range(30):
            count += await write(storage, WAL_BYTES // 2)
            largest = max(largest, wal_of(tmp_path))
        assert largest <= 4 * WAL_BYTES + WAL_BYTES
        assert len(updates(await storage.load(KEY))) == count
    assert not (tmp_path / "collab.db-wal").exists()
    async with opened(tmp_path) as storage:
        assert updates(await storage.load(KEY)) == [_BLOB] * count


async def test_readers_that_follow_each_other_without_a_break_do_not_let_the_wal_grow(tmp_path: Path) -> None:
    """Each of them begins before the last one ends, so that at no time nobody reads."""
    async with opened(tmp_path) as storage:
        await storage.commit([entry(b"x")])
        stop = threading.Event()

        def read() -> None:
            with raw(tmp_path) as first, raw(tmp_path) as second:
                for one in (first, second):
                    one.execute("BEGIN")
                    one.execute("SELECT count(*) FROM log").fetchone()
                while not stop.wait(0.001):
                    for one in (first, second):
                        one.execute("ROLLBACK")
                        one.execute("BEGIN")
                        one.execute("SELECT count(*) FROM log").fetchone()

        reader = threading.Thread(target=read)
        reader.start()
        try:
            for _ in range(20):
                await write(storage, WAL_BYTES // 2)
            assert wal_of(tmp_path) <= 5 * WAL_BYTES
        finally:
            stop.set()
            reader.join()


async def test_a_reader_that_stays_holds_up_no_commit_and_the_space_returns_when_it_leaves(tmp_path: Path) -> None:
    async with opened(tmp_path) as storage:
        await storage.commit([entry(b"x")])
        with raw(tmp_path) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM log").fetchone()
            await write(storage, 6 * WAL_BYTES)
            await until_copied(storage)
            assert wal_of(tmp_path) > 6 * WAL_BYTES
            assert reader.execute("SELECT count(*) FROM log").fetchone() == (1,)
        await write_until_small(storage, tmp_path)


async def test_a_checkpoint_that_fails_is_reported_and_fails_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(self: Checkpoints) -> bool:
        self._next = self.size() + WAL_BYTES
        raise sqlite3.OperationalError("disk I/O error")

    copy = Checkpoints.copy
    monkeypatch.setattr(Checkpoints, "copy", fail)
    async with opened(tmp_path) as storage:
        count = await write(storage, WAL_BYTES + WAL_BYTES // 2)
        await until_copied(storage)
        assert caplog.text.count("could not copy the WAL into the database") == 1
        monkeypatch.setattr(Checkpoints, "copy", copy)
        count += await write_until_small(storage, tmp_path)
        assert len(updates(await storage.load(KEY))) == count


async def test_an_erasure_waits_for_readers_of_the_wal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A background copy alone would leave erased bytes in it."""
    monkeypatch.setattr(sqlite_database, "_SCRUBS", 3)
    async with opened(tmp_path) as storage:
        await write(storage, WAL_BYTES)
        with raw(tmp_path) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM log").fetchone()
            with pytest.raises(StorageError, match="permanent readers"):
                await storage.erase([KEY])
        await storage.erase([KEY])
        assert wal_of(tmp_path) == 0
