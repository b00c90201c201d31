"""What the end of a process interrupts between two transactions reads the same, and is finished later."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from itertools import accumulate
from pathlib import Path
from random import Random
from sqlite3 import Connection
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collab.errors import NotFound
from collab.names import RoomKey
from collab.storage.base import SetAside, Snapshot, StorageError
from collab.storage.copying import copy_record
from collab.storage.sqlite.copy import sqlite_source, sqlite_target
from collab.storage.sqlite.moving import list_unfinished
from collab.storage.sqlite.slices import SLICE_BYTES
from collab.storage.sqlite.storage import SqliteStorage
from collab.testing.storage_case import KEY, OTHER, entry, fact, updates
from tests.collab.storage.database import bytes_on_disk, opened, raw


class Ended(StorageError):
    """In place of the end of the process."""


def end_after(storage: SqliteStorage, transactions: int) -> None:
    """Let the upkeep commit so many transactions, and none after them."""
    change = storage._database.change
    left = transactions

    async def limited(work: Callable[[Connection], Any]) -> Any:
        nonlocal left
        if not left:
            raise Ended("the process ends")
        left -= 1
        return await change(work)

    storage._upkeep._change = limited


async def interrupted(storage: SqliteStorage, work: Callable[[], Awaitable[None]], transactions: int) -> bool:
    """Returns whether ``work`` was interrupted. What a replacement leaves behind after its snapshot is no error."""
    end_after(storage, transactions)
    try:
        await work()
    except Ended:
        return True
    return await storage._query(lambda connection: bool(list_unfinished(connection)))


class Replacement(NamedTuple):
    """A document of rows of these sizes, some of them set aside, and how often its snapshot is interrupted."""

    sizes: list[int]
    aside: int
    first: int
    stops: list[int]


REPLACEMENTS = st.builds(
    Replacement,
    st.lists(st.sampled_from([0, 10, 9_000, SLICE_BYTES // 2, SLICE_BYTES + 1]), min_size=2, max_size=12),
    st.integers(0, 11),
    st.integers(1, 12),
    st.lists(st.integers(0, 12), max_size=3),
)


@settings(max_examples=40, deadline=None)
@given(REPLACEMENTS)
def test_a_log_that_was_moved_in_part_reads_like_one_that_was_moved(case: Replacement) -> None:
    with TemporaryDirectory() as folder:
        asyncio.run(replace(case, Path(folder)))


async def replace(case: Replacement, where: Path) -> None:
    words = Random(1)
    rows = [words.randbytes(size) for size in case.sizes]
    length = len(rows)
    aside = case.aside % length + 1
    rows[aside - 1] = b""
    texts = list(accumulate(rows, initial=b""))
    async with opened(where) as storage:
        await storage.commit([entry(row) for row in rows])
        await storage.set_aside(SetAside(KEY, aside, b"", "hostile", 1.0))
    for seq in (min(case.first, length), length):
        snapshot = Snapshot(seq, texts[seq], b"index" * 10)
        for stop in case.stops:
            async with opened(where) as storage:
                await storage._upkeep.finish()
                await interrupted(storage, lambda new=snapshot: storage.replace_snapshot(KEY, new), stop)  # type: ignore[misc]
                await check(storage, rows, texts, aside)
            async with opened(where) as storage:
                await check(storage, rows, texts, aside)
        async with opened(where) as storage:
            await storage.replace_snapshot(KEY, snapshot)
            await check(storage, rows, texts, aside)
            record = await storage.load(KEY)
            assert record is not None
            assert record.snapshot == snapshot
    with raw(where) as database:
        for left in (
            "SELECT count(*) FROM unfinished",
            "SELECT count(*) FROM log",
            "SELECT count(*) FROM parts WHERE bundle NOT IN (SELECT bundle FROM snapshots WHERE bundle IS NOT NULL"
            " UNION SELECT bundle FROM bases WHERE bundle IS NOT NULL UNION"
            " SELECT gate_bundle FROM snapshots WHERE gate_bundle IS NOT NULL)",
        ):
            assert database.execute(left).fetchone() == (0,), left


async def check(storage: SqliteStorage, rows: list[bytes], texts: list[bytes], aside: int) -> None:
    record = await storage.load(KEY)
    assert record is not None
    start = record.snapshot.seq if record.snapshot is not None else 0
    assert record.snapshot is None or record.snapshot.update == texts[start]
    kept = [(seq, row) for seq, row in enumerate(rows, 1) if seq != aside]
    assert [(row.seq, row.update) for row in record.rows] == kept[sum(seq <= start for seq, _ in kept) :]
    for seq in range(len(texts)):
        assert b"".join(await storage.document_at(KEY, seq)) == texts[seq]
    assert [(row.seq, row.update) for row in await storage.log_after(KEY, 0)] == kept


async def write(where: Path, *, size: int = 40_000, history_seconds: float | None = None) -> list[bytes]:
    """Two documents of 24 rows each, with a snapshot and a base; returns the texts."""
    words = Random(2)
    rows = [words.randbytes(size) for _ in range(24)]
    texts = list(accumulate(rows, initial=b""))
    async with opened(where, history_seconds) as storage:
        for seq, row in enumerate(rows, 1):
            await storage.commit(
                [entry(row, at=float(seq)), entry(row, OTHER)], [fact(seq, {"n": row.hex()}, at=float(seq))]
            )
            if seq in (8, 16):
                await storage.replace_snapshot(KEY, Snapshot(seq, texts[seq], b"index"))
    return texts


@pytest.mark.parametrize("stop", [0, 1, 2, 4, 7, 10])
async def test_an_erasure_that_was_interrupted_is_finished_after_the_next_start(tmp_path: Path, stop: int) -> None:
    texts = await write(tmp_path)
    async with opened(tmp_path) as storage:
        assert await interrupted(storage, lambda: storage.erase([KEY]), stop)
        record = await storage.load(KEY)
        assert (record is None) == (stop > 0)
    async with opened(tmp_path) as storage:
        await storage._upkeep.finish()
        if not stop:
            assert b"".join(await storage.document_at(KEY, 24)) == texts[24]
            return
        assert await storage.load(KEY) is None
        assert await storage.entity(KEY) is None
        with raw(tmp_path) as database:
            for table in (
                "documents",
                "log",
                "archive",
                "bases",
                "snapshots",
                "parts",
                "events",
                "entities",
                "erasing",
            ):
                own = {"documents", "log"} & {table}
                (count,) = database.execute(f"SELECT count(*) FROM {table}").fetchone()
                assert bool(count) == bool(own), table
        await storage.commit([entry(b"new")], [fact(1)])
        assert updates(await storage.load(KEY)) == [b"new"]
        assert len(updates(await storage.load(OTHER))) == 24


async def test_a_document_that_takes_the_name_of_one_that_is_being_erased_is_another(tmp_path: Path) -> None:
    """Its rows are not mistaken for those that are still to be deleted."""
    await write(tmp_path)
    async with opened(tmp_path) as storage:
        await storage.erase([OTHER])
        assert await interrupted(storage, lambda: storage.erase([KEY]), 3)
    async with opened(tmp_path) as storage:
        await storage.commit([entry(b"new")], [fact(1)])
        await storage._upkeep.finish()
        assert updates(await storage.load(KEY)) == [b"new"]
        assert [version.event.version for version in await storage.history(KEY)] == [1]


@pytest.mark.parametrize("stop", range(0, 12, 2))
async def test_a_trim_that_was_interrupted_leaves_no_version_that_reads_differently(tmp_path: Path, stop: int) -> None:
    texts = await write(tmp_path)
    async with opened(tmp_path) as storage:
        await interrupted(storage, lambda: storage.trim(20.0), stop)
    async with opened(tmp_path) as storage:
        for _ in range(2):
            for seq in range(25):
                try:
                    assert b"".join(await storage.document_at(KEY, seq)) == texts[seq]
                except NotFound:
                    assert seq < 16
            await storage.trim(20.0)
        with raw(tmp_path) as database:
            for table in ("bases", "archive"):
                assert database.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
            assert database.execute("SELECT count(DISTINCT bundle) FROM parts").fetchone() == (1,)


async def test_history_that_is_switched_off_while_a_log_is_half_moved_leaves_nothing(tmp_path: Path) -> None:
    texts = await write(tmp_path)
    async with opened(tmp_path) as storage:
        new = Snapshot(24, texts[24], b"index")
        assert await interrupted(storage, lambda: storage.replace_snapshot(KEY, new), 12)
    async with opened(tmp_path, history_seconds=0) as storage:
        await storage._upkeep.finish()
        assert b"".join(await storage.document_at(KEY, 24)) == texts[24]
        for seq in (1, 8, 16, 20):
            with pytest.raises(NotFound):
                await storage.document_at(KEY, seq)
        with raw(tmp_path) as database:
            assert database.execute("SELECT count(*) FROM archive").fetchone() == (0,)


async def test_each_transaction_of_upkeep_is_small(tmp_path: Path) -> None:
    """Measured by what it adds to the WAL: rows that are deleted are overwritten there."""
    key = RoomKey("acme", "documents", "large")
    texts = await write(tmp_path, size=90_000)
    wal = tmp_path / "collab.db-wal"
    largest = 0
    async with opened(tmp_path) as storage:
        await storage.commit([entry(b"y" * 100, key) for _ in range(1000)])
        database = storage._database
        change = storage._upkeep._change

        async def measured(work: Callable[[Connection], Any]) -> Any:
            nonlocal largest
            while storage.trimming or not await database._empty_wal():
                await asyncio.sleep(0.001)
            done = await change(work)
            largest = max(largest, wal.stat().st_size)
            return done

        storage._upkeep._change = measured
        await storage.replace_snapshot(KEY, Snapshot(24, texts[24], texts[20]))
        await storage.replace_snapshot(key, Snapshot(1000, b"", b""))
        await storage.trim(20.0)
        await storage.erase([KEY, OTHER, key])
    assert SLICE_BYTES < largest < 4 * SLICE_BYTES
    assert bytes_on_disk(tmp_path) > 0


_DOOMED = """
import asyncio, os, signal, sys
from pathlib import Path
from collab.storage.base import Snapshot
from collab.storage.sqlite.storage import SqliteStorage
from collab.testing.storage_case import KEY

async def main(folder, left):
    storage = SqliteStorage(Path(folder))
    await storage.open()
    text = b"".join(await storage.document_at(KEY, 24))
    change = storage._upkeep._change

    async def doomed(work):
        nonlocal left
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return await change(work)

    storage._upkeep._change = doomed
    await storage.replace_snapshot(KEY, Snapshot(24, text, b"index"))
    await storage.erase([KEY])

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


@pytest.mark.slow
@pytest.mark.parametrize("stop", [3, 6, 8, 10, 12, 14, 18, 22])
async def test_a_process_that_is_killed_between_two_transactions_leaves_whole_documents(
    tmp_path: Path, stop: int
) -> None:
    """First while a snapshot is stored, then while its document is erased."""
    texts = await write(tmp_path)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", _DOOMED, str(tmp_path), str(stop))
    assert await process.wait() == -signal.SIGKILL
    async with opened(tmp_path) as storage:
        for _ in range(2):
            record = await storage.load(KEY)
            if record is None:
                assert await storage.entity(KEY) is None
            else:
                for seq in range(25):
                    assert b"".join(await storage.document_at(KEY, seq)) == texts[seq]
                start = record.snapshot.seq if record.snapshot is not None else 0
                assert b"".join([texts[start], *updates(record)]) == texts[24]
            await storage._upkeep.finish()
        with raw(tmp_path) as database:
            for table in ("unfinished", "erasing"):
                assert database.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
            (behind,) = database.execute(
                "SELECT count(*) FROM log JOIN snapshots USING (rid) WHERE log.seq <= snapshots.seq"
            ).fetchone()
            assert not behind


@pytest.mark.parametrize("stop", [4, 8, 11])
async def test_a_copy_of_a_database_with_unfinished_work_has_everything(tmp_path: Path, stop: int) -> None:
    source, target = tmp_path / "from", tmp_path / "to"
    texts = await write(source)
    async with opened(source) as storage:
        new = Snapshot(24, texts[24], b"index")
        assert await interrupted(storage, lambda: storage.replace_snapshot(KEY, new), stop)
        assert await interrupted(storage, lambda: storage.erase([OTHER]), 2)
    async with sqlite_source(source) as read, sqlite_target(target) as written:
        await copy_record(read, written, moved=lambda _: None, damaged=lambda _: None)
    async with opened(target) as storage:
        for seq in range(25):
            assert b"".join(await storage.document_at(KEY, seq)) == texts[seq]
        assert b"".join(row.update for row in await storage.log_after(KEY, 0)) == texts[24]
        assert await storage.load(OTHER) is None
        with raw(target) as database:
            for table in ("log", "archive", "bases", "snapshots"):
                assert database.execute(f"SELECT count(*) FROM {table} WHERE rid <> 1").fetchone() == (0,)
            assert database.execute(
                "SELECT count(*) FROM log JOIN snapshots USING (rid) WHERE log.seq <= snapshots.seq"
            ).fetchone() == (0,)
