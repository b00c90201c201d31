"""SQLite beyond the contract of the record: old databases, damage, disk usage of history, and who waits."""

import asyncio
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from collab.errors import DocumentDamaged, NotFound
from collab.names import RoomKey
from collab.query.query import Compare, Query
from collab.storage.base import Positions, Requested, Snapshot, StorageError
from collab.storage.sqlite.schema import STEPS, prepare
from collab.storage.sqlite.storage import SqliteStorage
from collab.testing.storage_case import KEY, OTHER, entry, fact, updates
from tests.collab.storage.database import VERSION_1, bytes_on_disk, opened, raw


async def text_at(storage: SqliteStorage, seq: int, key: RoomKey = KEY) -> bytes:
    return b"".join(await storage.document_at(key, seq))


async def test_the_documents_of_version_1_are_waiting_for_their_events(tmp_path: Path) -> None:
    with raw(tmp_path) as old:
        old.executescript(VERSION_1)
        old.execute("INSERT INTO documents VALUES (2, 'acme', 'documents', 'empty', 'x', 0)")
        old.execute("INSERT INTO documents VALUES (3, 'acme', 'documents', 'doc_456', 'x', 0)")
        old.execute("INSERT INTO snapshots VALUES (3, 5, x'', x'', 0)")
    async with opened(tmp_path) as storage:
        assert list(await storage.uncovered()) == [KEY, OTHER]
        assert await storage.span("acme") == (0, 0)
        await storage.commit([], [fact(1, content_seq=4)])
        assert list(await storage.uncovered()) == [OTHER]


async def test_cursors_of_a_database_with_one_count_for_all_projects_stay_valid(tmp_path: Path) -> None:
    with raw(tmp_path) as old:
        prepare(old, STEPS[:3])
        for eid, project in enumerate(("a", "b"), 1):
            entity = (eid, project, "tasks", "t", 2, 0, "{}", None, b"", 0, 1.0, 1.0)
            old.execute(f"INSERT INTO entities VALUES ({', '.join('?' * 12)})", entity)
        for position, (eid, version) in enumerate(((1, 1), (2, 1), (2, 2), (1, 2)), 5):
            event = (position, eid, version, "updated", 0, "ada", 1.0, "{}", "{}", None)
            old.execute(f"INSERT INTO events VALUES ({', '.join('?' * 10)})", event)
        old.execute("UPDATE record SET value = 4 WHERE name = 'oldest'")
        old.execute("INSERT INTO record VALUES ('newest', 9)")
        old.execute("INSERT INTO webhooks VALUES ('hook', 6)")
        (epoch,) = old.execute("SELECT value FROM record WHERE name = 'epoch'").fetchone()
    for _ in range(2):
        async with opened(tmp_path) as storage:
            assert await storage.positions() == Positions(epoch, 9, {"a": 9, "b": 9})
            assert [await storage.span(name) for name in ("a", "b", "new")] == [(4, 9), (4, 9), (9, 9)]
            assert [event.position for event in await storage.events("a", 0, limit=10)] == [5, 8]
            assert [event.position for event in await storage.events("b", 6, limit=10)] == [7]
            assert [version.event.version for version in await storage.history(RoomKey("b", "tasks", "t"))] == [2, 1]
            assert await storage.webhook_position("hook", "a") == await storage.webhook_position("hook", "b") == 6
            assert await storage.newest_at() == 1.0
    async with opened(tmp_path) as storage:
        facts = [
            fact(1, key=RoomKey(project, "tasks", name)) for project, name in (("a", "s"), ("new", "t"), ("a", "u"))
        ]
        assert list((await storage.commit([], facts)).positions) == [10, 10, 11]
        assert await storage.positions() == Positions(epoch, 9, {"a": 11, "b": 9, "new": 10})


async def test_the_history_of_a_document_of_version_1_begins_with_its_snapshot(tmp_path: Path) -> None:
    with raw(tmp_path) as old:
        old.executescript(VERSION_1)
    async with opened(tmp_path) as storage:
        await storage.commit([entry(b"5"), entry(b"6")])
        for _ in range(2):
            with pytest.raises(NotFound):
                await storage.document_at(KEY, 1)
            assert [await text_at(storage, seq) for seq in range(2, 7)] == [
                b"state",
                b"state\x02\x03\xff",
                b"state\x02\x03\xff",
                b"state\x02\x03\xff5",
                b"state\x02\x03\xff56",
            ]
            await storage.replace_snapshot(KEY, Snapshot(6, b"state\x02\x03\xff56", b""))


async def test_named_writes_of_version_2_are_those_of_who_wrote_them(tmp_path: Path) -> None:
    """Their digests are unknown, and writes of unnamed callers are not recognised again."""
    with raw(tmp_path) as old:
        prepare(old, STEPS[:2])
        old.execute("INSERT INTO entities VALUES (1, 'acme', 'tasks', 't1', 2, 0, '{}', NULL, x'', 0, 1.0, 2.0)")
        for version, user in (1, "ada"), (2, None):
            old.execute(
                f"INSERT INTO events VALUES ({version}, 1, {version}, 'x', 0, ?, 1.0, '{{}}', '{{}}', NULL)", (user,)
            )
        for number, version in (1, 1), (2, 2), (3, 9):
            old.execute("INSERT INTO requests VALUES (?, 'acme', ?, 1, ?, 3.0)", (number, f"r{number}", version))
    key = RoomKey("acme", "tasks", "t1")
    async with opened(tmp_path) as storage:
        assert await storage.request("acme", "user:ada", "r1") == Requested(key, 1, b"")
        assert await storage.request("acme", "", "r2") == Requested(key, 2, b"")
        assert await storage.request("acme", "", "r3") == Requested(key, 9, b"")
        assert await storage.request("acme", "user:eve", "r1") is None
        await storage.trim(0.0)
        assert await storage.request("acme", "user:ada", "r1") is None


async def test_history_that_was_switched_off_leaves_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as storage:
        await storage.commit([entry(b"1"), entry(b"2"), entry(b"3")])
        await storage.replace_snapshot(KEY, Snapshot(1, b"1", b""))
    async with opened(tmp_path, history_seconds=0) as storage:
        assert await text_at(storage, 2) == b"12"
        await storage.replace_snapshot(KEY, Snapshot(2, b"12", b""))
        with pytest.raises(NotFound):
            await storage.document_at(KEY, 1)
        assert await text_at(storage, 3) == b"123"
        with raw(tmp_path) as database:
            assert database.execute("SELECT count(*) FROM archive").fetchone() == (0,)
            assert database.execute("SELECT count(*) FROM bases").fetchone() == (0,)
    async with opened(tmp_path) as storage:
        await storage.replace_snapshot(KEY, Snapshot(3, b"123", b""))
        assert [await text_at(storage, seq) for seq in (2, 3)] == [b"12", b"123"]
        with pytest.raises(NotFound):
            await storage.document_at(KEY, 1)


async def test_history_is_kept_for_the_configured_time(tmp_path: Path) -> None:
    async with opened(tmp_path, history_seconds=100.0) as storage:
        text = b""
        for seq in range(1, 61):
            text += b"%d." % seq
            await storage.commit([entry(b"%d." % seq, at=10.0 * seq)])
            if seq % 5 == 0:
                await storage.replace_snapshot(KEY, Snapshot(seq, text, b""))
        for seq in range(50, 61):
            assert await text_at(storage, seq) == b"".join(b"%d." % number for number in range(1, seq + 1))
        with pytest.raises(NotFound):
            await storage.document_at(KEY, 30)


async def test_history_takes_no_more_disk_than_twice_its_log(tmp_path: Path) -> None:
    words = Random(2)
    written = 0
    async with opened(tmp_path) as storage:
        state = b""
        for seq in range(1, 101):
            update = words.randbytes(3000)
            written += len(update)
            state += update
            await storage.commit([entry(update)])
            await storage.replace_snapshot(KEY, Snapshot(seq, state, b""))
        assert await text_at(storage, 50) == state[:150_000]
        with raw(tmp_path) as database:
            (archived,) = database.execute("SELECT sum(length(content)) FROM archive").fetchone()
            (based,) = database.execute("SELECT sum(length(content)) FROM bases").fetchone()
        assert archived < 1.1 * written
        assert based <= archived


async def test_the_disk_is_given_back_after_a_trim(tmp_path: Path) -> None:
    words = Random(3)
    async with opened(tmp_path) as storage:
        for turn in range(10):
            first = 200 * turn + 1
            facts = [fact(version, {"n": words.randbytes(500).hex()}, at=1.0) for version in range(first, first + 200)]
            await storage.commit([], facts)
        before = bytes_on_disk(tmp_path)
        await storage.trim(2.0)
        while storage.trimming:
            await asyncio.sleep(0.01)
        assert bytes_on_disk(tmp_path) < before / 5
        assert [version.event.version for version in await storage.history(KEY)] == [2000]


@pytest.mark.parametrize("table", ["archive", "bases"])
async def test_damaged_history_is_refused_and_the_document_opens(tmp_path: Path, table: str) -> None:
    async with opened(tmp_path) as storage:
        await storage.commit([entry(b"%d" % seq) for seq in range(1, 10)])
        for seq in (3, 6, 8):
            await storage.replace_snapshot(KEY, Snapshot(seq, b"123456789"[:seq], b""))
        with raw(tmp_path) as other:
            changed = other.execute(f"UPDATE {table} SET content = content || x'00'").rowcount
            assert changed
        with pytest.raises(DocumentDamaged) as caught:
            for seq in range(1, 8):
                await storage.document_at(KEY, seq)
        assert not caught.value.retryable
        assert updates(await storage.load(KEY)) == [b"9"]
        assert await text_at(storage, 9) == b"123456789"


async def test_a_damaged_row_is_set_aside_before_it_could_be_archived(tmp_path: Path) -> None:
    async with opened(tmp_path) as storage:
        await storage.commit([entry(b"1"), entry(b"2"), entry(b"3")])
        with raw(tmp_path) as other:
            other.execute("UPDATE log SET content = x'77' WHERE seq = 2")
        await storage.replace_snapshot(KEY, Snapshot(3, b"13", b""))
        assert await text_at(storage, 2) == b"1"
        assert [(aside.seq, aside.update) for aside in await storage.list_set_aside()] == [(2, b"w")]


async def test_a_damaged_entity_is_refused_and_harms_no_other(tmp_path: Path) -> None:
    async with opened(tmp_path) as storage:
        await storage.commit([entry(b"1")], [fact(1), fact(1, {"n": 1}, OTHER)])
        with raw(tmp_path) as other:
            other.execute("UPDATE entities SET data = '{' || data WHERE id = 'doc_123'")
        with pytest.raises(DocumentDamaged):
            await storage.entity(KEY)
        with pytest.raises(DocumentDamaged):
            await storage.load(KEY)
        row = await storage.entity(OTHER)
        assert row is not None
        assert row.data["n"] == 1


async def test_points_in_time_are_kept_as_written_and_as_compared(tmp_path: Path) -> None:
    async with opened(tmp_path) as storage:
        await storage.commit([], [fact(1, {"when": "2024-01-31T13:00:00+01:00"})])
        found = await storage.find("acme", "documents", Query(Compare(("when",), "eq", "2024-01-31T12:00:00.000000Z")))
        assert [row.data["when"] for row in found.rows] == ["2024-01-31T13:00:00+01:00"]


async def test_a_refused_commit_leaves_neither_rows_nor_events(tmp_path: Path) -> None:
    async with opened(tmp_path) as storage:
        await storage.commit([entry(b"1")], [fact(1, row=0)])
        with closing(sqlite3.connect(tmp_path / "collab.db", timeout=0.1, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StorageError):
                await storage.commit([entry(b"2")], [fact(2, row=0), fact(1, key=OTHER)])
            other.execute("ROLLBACK")
        committed = await storage.commit([entry(b"2")], [fact(2, row=0), fact(1, key=OTHER)])
        assert (list(committed.seqs), list(committed.positions)) == ([2], [2, 3])
        assert [event.version for event in await storage.events("acme", 0, limit=10)] == [1, 2, 1]


async def test_loads_and_commits_do_not_wait_for_queries(tmp_path: Path) -> None:
    async with opened(tmp_path) as storage:
        await storage.commit([entry(b"1")], [fact(1, row=0)])
        begun, go_on = threading.Event(), threading.Event()

        def slow(_: sqlite3.Connection) -> bool:
            begun.set()
            return go_on.wait(60)

        query = asyncio.create_task(storage._database.query(slow))
        try:
            while not begun.is_set():
                await asyncio.sleep(0.001)
            await storage.commit([entry(b"2")], [fact(2, row=0)])
            record = await storage.load(KEY)
            assert updates(record) == [b"1", b"2"]
            assert await storage.entity(KEY) is not None
            assert not query.done()
        finally:
            go_on.set()
        assert await query


async def test_trimming_many_events_lets_commits_go_in_between(tmp_path: Path) -> None:
    keys = [RoomKey("p", "c", f"k{number}") for number in range(50)]
    async with opened(tmp_path) as storage:
        for version in range(1, 61):
            await storage.commit([], [fact(version, key=key, at=1.0) for key in keys])
        trim = asyncio.create_task(storage.trim(2.0))
        version = 0
        while not trim.done():
            version += 1
            await storage.commit([], [fact(version, at=3.0)])
        await trim
        assert version > 1
        assert await storage.span("p") == (3000, 3000)
        assert await storage.span("acme") == (0, version)
        assert len(await storage.events("p", 0, limit=10_000)) == 50
