"""A record that was copied is the same record: between all storages, and in the same state of repair."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collab.access.revocations import Revocation
from collab.errors import DocumentDamaged, NotFound
from collab.names import RoomKey
from collab.query.query import EVERYTHING, Query
from collab.storage.base import (
    Append,
    DeadLetter,
    IdempotencyKey,
    SetAside,
    Snapshot,
    Storage,
    StorageCorrupt,
    StorageError,
)
from collab.storage.copying import (
    BATCH_BYTES,
    BATCH_ROWS,
    CopyProgress,
    Damage,
    TargetNotEmpty,
    copy_record,
    portions,
)
from collab.storage.location import is_postgres, is_same, source_at, storage_at, target_at
from collab.storage.memory import MemoryStorage
from collab.storage.postgres.storage import PostgresStorage
from collab.storage.sqlite.storage import SqliteStorage
from collab.testing.storage_case import KEY, OTHER, entry, fact
from tests.collab.storage.database import raw
from tests.collab.storage.postgres.test_storage import execute
from tests.collab.storage.test_record_model import ACTS, KEYS, Act, Truth, compare, do
from tests.postgres import PostgresProcess, PostgresServer

ROOT = Path(__file__).parents[3]


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    with postgres.records() as lend:
        yield lend()


async def copied(source: str, target: str, *, takes_over: bool = False) -> tuple[CopyProgress, list[str]]:
    """Copy a record. Returns what was copied, and what was damaged."""
    damages: list[Damage] = []
    async with source_at(source, takes_over=takes_over) as reads, target_at(target) as writes:
        done = await copy_record(reads, writes, moved=lambda _: None, damaged=damages.append)
    return done, [str(damage) for damage in damages]


async def fill(location: str) -> None:
    """A record with a row in each table."""
    storage = storage_at(location)
    await storage.open()
    name = IdempotencyKey("user:ada", "w1", b"digest")
    await storage.commit([entry(b"1."), entry(b"2."), entry(b"3.")], [fact(1, {"n": 1}, row=1, request=name)])
    for seq in (1, 2):
        await storage.replace_snapshot(KEY, Snapshot(seq, b"1.2."[: 2 * seq], b"index"))
    await extend(storage, 1)
    await storage.close()


async def extend(storage: Storage, position: int) -> None:
    """What is in a record besides documents and events of entities."""
    await storage.set_aside(SetAside(OTHER, None, b"frame", "ended a worker", 5.0))
    await storage.save_schema("acme", "tasks", 3, b'{"title": {}}')
    letter = DeadLetter("crm", fact(1).event, "acme", "answered 500", 7.5)
    await storage.save_webhook("crm", "acme", position, [letter])
    await storage.save_webhook("mail", "p", position)
    await storage.revoke(Revocation("acme", "user", "ada", 12.5, 1e12), 0.0)


async def everything(storage: Storage, keys: Sequence[RoomKey]) -> dict[str, Any]:
    """All that can be read from a record."""
    found: dict[str, Any] = {
        "positions": await storage.positions(),
        "newest at": await storage.newest_at(),
        "uncovered": list(await storage.uncovered()),
        "set aside": list(await storage.list_set_aside()),
        "dead": list(await storage.dead_letters("crm")),
        "revocations": list(await storage.revocations(0.0)),
        "expired": sorted(await storage.expired(1e12, 1000)),
    }
    for project in {key.project for key in keys}:
        found[f"{project} span"] = await storage.span(project)
        found[f"{project} events"] = list(await storage.events(project, 0, limit=10_000))
        found[f"{project} schemas"] = await storage.schemas(project)
        found[f"{project} webhooks"] = [await storage.webhook_position(name, project) for name in ("crm", "mail")]
        found[f"{project} requests"] = [await storage.request(project, "user:a", f"{n}") for n in range(1, 10)]
        found[f"{project} rows"] = await storage.find(project, "documents", Query(EVERYTHING))
    for key in keys:
        found[f"{key}"] = await storage.load(key)
        found[f"{key} log"] = log = list(await storage.log_after(key, 0))
        found[f"{key} history"] = versions = list(await storage.history(key, limit=10_000))
        for seq in range(1 + max([0, *(row.seq for row in log), *(version.seq for version in versions)])):
            try:
                found[f"{key} at {seq}"] = b"".join(await storage.document_at(key, seq))
            except NotFound:
                found[f"{key} at {seq}"] = None
        for version in versions:
            found[f"{key} {version.event.version}"] = await storage.seq_at(key, version=version.event.version)
    return found


async def move(acts: list[Act], more: list[Act], places: Sequence[str]) -> None:
    """Act on a record, copy it from each place to the next, compare all of them, and go on acting on all."""
    truth = Truth()
    memory = MemoryStorage(clock=lambda: truth.now)

    def at(place: str) -> SqliteStorage | PostgresStorage:
        if is_postgres(place):
            return PostgresStorage(place, clock=lambda: truth.now)
        return SqliteStorage(Path(place), clock=lambda: truth.now)

    first = at(places[0])
    await first.open()
    for act in acts:
        truth.now += act.at
        await do(act, truth, [memory, first])
    for storage in (memory, first):
        await extend(storage, 1)
    await first.close()
    for source, target in pairwise(places):
        done, damages = await copied(source, target)
        assert not damages
        assert (done.documents, done.entities, done.events) == done.total
    storages = [at(place) for place in places]
    try:
        for storage in storages:
            await storage.open()
        truths = [await everything(storage, [*KEYS, KEY, OTHER]) for storage in storages]
        assert truths[1:] == [truths[0]] * (len(places) - 1)
        for storage in storages:
            await compare(truth, memory, storage)
        for act in more:
            truth.now += act.at
            if act.kind != "restart":
                await do(act, truth, [memory, *storages])
        for storage in storages:
            await compare(truth, memory, storage)
    finally:
        for storage in storages:
            await storage.close()


def test_a_copy_is_the_same_record_and_goes_on_as_the_first(postgres: PostgresServer) -> None:
    @settings(max_examples=15, deadline=None)
    @given(ACTS.map(lambda acts: [act for act in acts if act.kind != "restart"]), ACTS)
    def moves(acts: list[Act], more: list[Act]) -> None:
        with TemporaryDirectory() as where, postgres.records() as lend:
            places = [f"{where}/one", lend(), lend(), f"{where}/two", f"{where}/three"]
            asyncio.run(move(acts, more, places))

    moves()


# what is damaged


async def damage(location: str) -> None:
    """Change a byte of each kind of content past the storage."""
    for table in ("log", "archive", "bases"):
        if is_postgres(location):
            await execute(location, f"UPDATE collab.{table} SET content = '\\x00'::bytea || content")
        else:
            with raw(Path(location)) as database:
                database.execute(f"UPDATE {table} SET content = CAST(x'00' || content AS BLOB)")
    if is_postgres(location):
        await execute(location, "UPDATE collab.snapshots SET gate = '\\x00'::bytea || gate")
    else:
        with raw(Path(location)) as database:
            database.execute("UPDATE snapshots SET gate = CAST(x'00' || gate AS BLOB)")


@pytest.mark.parametrize("directions", ["file to server", "server to file", "server to server", "file to file"])
async def test_damaged_content_is_named_and_is_as_damaged_in_the_copy(
    tmp_path: Path, postgres: PostgresServer, directions: str
) -> None:
    with postgres.records() as lend:
        source, target = (
            str(tmp_path / f"{number}") if part == "file" else lend()
            for number, part in enumerate(directions.split(" to "))
        )
        await fill(source)
        await damage(source)
        done, damages = await copied(source, target)
        where = "of documents/doc_123 in project acme does not match its checksum"
        assert damages == [
            f"row 3 {where}",
            f"the snapshot up to row 2 {where}",
            f"the history up to row 1 {where}",
            f"the history up to row 2 {where}",
            f"the earlier snapshot up to row 1 {where}",
        ]
        assert done.damaged == 5
        storage = storage_at(target)
        await storage.open()
        with pytest.raises(DocumentDamaged):
            await storage.load(KEY)
        for seq in (1, 2, 3):
            with pytest.raises(DocumentDamaged):
                await storage.document_at(KEY, seq)
        await storage.close()


async def test_a_damaged_row_is_set_aside_when_the_copy_is_loaded(tmp_path: Path, url: str) -> None:
    storage = storage_at(str(tmp_path))
    await storage.open()
    await storage.commit([entry(b"1."), entry(b"2.")])
    await storage.close()
    with raw(tmp_path) as database:
        database.execute("UPDATE log SET content = x'ff' WHERE seq = 1")
    _, damages = await copied(str(tmp_path), url)
    assert len(damages) == 1
    storage = storage_at(url)
    await storage.open()
    record = await storage.load(KEY)
    assert record is not None
    assert [row.update for row in record.rows] == [b"2."]
    assert [(aside.seq, aside.update) for aside in record.set_aside] == [(1, b"\xff")]
    await storage.close()


@pytest.mark.parametrize("to", ["file", "server"])
async def test_an_entity_that_is_not_json_is_named_and_nothing_is_copied(tmp_path: Path, url: str, to: str) -> None:
    source, target = str(tmp_path / "one"), str(tmp_path / "two") if to == "file" else url
    await fill(source)
    with raw(tmp_path / "one") as database:
        database.execute("UPDATE entities SET data = '{'")
    with pytest.raises(DocumentDamaged, match=f"fields of {KEY.name} in project acme are damaged"):
        await copied(source, target)
    with raw(tmp_path / "one") as database:
        database.execute("UPDATE entities SET data = '{}'")
    await copied(source, target)


async def test_texts_that_postgresql_cannot_store_do_not_stop_a_copy(tmp_path: Path, url: str) -> None:
    storage = storage_at(str(tmp_path))
    await storage.open()
    request = IdempotencyKey("user:a\0da", "w\0", b"")
    await storage.commit(
        [Append(KEY, b"1.", "a\0da", 1.0)], [fact(1, {"title": "a\0b"}, user_id="a\0da", request=request)]
    )
    await storage.set_aside(SetAside(KEY, None, b"", "reason\0", 1.0))
    letter = DeadLetter("crm", fact(1).event, "acme", "answered\0", 1.0)
    await storage.save_webhook("crm", "acme", 1, [letter])
    await storage.close()
    await copied(str(tmp_path), url)
    storage = storage_at(url)
    await storage.open()
    assert (await storage.log_after(KEY, 0))[0].user_id == "a\1da"
    assert (await storage.find("acme", "documents", Query(EVERYTHING))).rows[0].data["title"] == "a\0b"
    assert await storage.request("acme", "user:a\0da", "w\0") is not None
    await storage.close()


# what is refused


async def test_a_target_that_holds_a_record_is_refused_and_not_touched(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    with postgres.records() as lend:
        for location in (str(tmp_path / "one"), lend()):
            await fill(location)
            for source in (str(tmp_path / "source"), lend()):
                other = storage_at(source)
                await other.open()
                await other.close()
                with pytest.raises(TargetNotEmpty, match="the target is not empty"):
                    await copied(source, location)
            storage = storage_at(location)
            await storage.open()
            assert (await storage.positions()).newest == {"acme": 1}
            await storage.close()


@pytest.mark.parametrize("name", ["collab.db-wal", "collab.db-journal"])
async def test_a_folder_with_what_sqlite_would_add_to_a_database_is_not_empty(tmp_path: Path, name: str) -> None:
    await fill(str(tmp_path / "one"))
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / name).write_bytes(b"")
    with pytest.raises(TargetNotEmpty, match=name):
        await copied(str(tmp_path / "one"), str(tmp_path / "two"))


async def test_a_target_whose_record_is_empty_takes_the_copy_with_its_epoch(tmp_path: Path, url: str) -> None:
    await fill(str(tmp_path))
    storage = storage_at(url)
    await storage.open()
    before = (await storage.positions()).epoch
    await storage.close()
    await copied(str(tmp_path), url)
    await storage.open()
    assert (await storage.positions()).epoch != before
    await storage.close()


async def test_a_source_that_is_not_there_is_refused_and_not_made(tmp_path: Path, postgres: PostgresServer) -> None:
    nothing = postgres.database()
    for source, said in ((str(tmp_path / "none"), "there is no "), (nothing, "holds no record")):
        with pytest.raises(StorageError, match=said):
            await copied(source, str(tmp_path / "target"))
    assert not (tmp_path / "none").exists()
    assert not (tmp_path / "target").exists()
    await execute(nothing, "CREATE SCHEMA collab")  # not there before


async def test_a_record_that_a_server_uses_is_neither_copied_nor_copied_over(tmp_path: Path, url: str) -> None:
    folder = str(tmp_path / "one")
    for location, said in ((folder, "another process is using"), (url, "a server uses this database")):
        server = storage_at(location)
        await server.open()
        await server.commit([entry(b"1.")])
        with pytest.raises(StorageError, match=said):
            await copied(location, str(tmp_path / "two"))
        await server.commit([entry(b"2.")])
        await server.close()
        assert not (tmp_path / "two").exists()


async def test_an_empty_target_that_a_server_uses_is_refused(tmp_path: Path, url: str) -> None:
    await fill(str(tmp_path))
    server = storage_at(url)
    await server.open()
    with pytest.raises(StorageError, match="a server uses this database"):
        await copied(str(tmp_path), url)
    await server.commit([entry(b"1.")])
    await server.close()


async def test_the_mark_of_a_killed_server_is_no_obstacle_to_who_takes_over(tmp_path: Path, url: str) -> None:
    await fill(url)
    await execute(
        url, "INSERT INTO collab.nodes (name, version, started, dead, url) VALUES ('killed', '', 0, false, '')"
    )
    with pytest.raises(StorageError, match="take over"):
        await copied(url, str(tmp_path / "two"))
    done, _ = await copied(url, str(tmp_path / "two"), takes_over=True)
    assert done.events == 1


async def test_a_source_of_another_version_is_refused_and_not_touched(tmp_path: Path, url: str) -> None:
    folder, target = str(tmp_path / "one"), str(tmp_path / "two")
    for location in (folder, url):
        await fill(location)
    with raw(tmp_path / "one") as database:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        for other, said in ((version - 1, "run `collab migrate` first"), (version + 1, "newer version")):
            database.execute(f"PRAGMA user_version = {other}")
            with pytest.raises(StorageCorrupt, match=said):
                await copied(folder, target)
            assert database.execute("PRAGMA user_version").fetchone() == (other,)
    await execute(url, "UPDATE collab.record SET version = version + 1")
    try:
        with pytest.raises(StorageCorrupt, match="newer version"):
            await copied(url, target)
    finally:
        await execute(url, "UPDATE collab.record SET version = version - 1")
    assert not (tmp_path / "two").exists()


def test_a_place_is_the_same_however_its_folder_is_written(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "data")
    assert is_same(str(tmp_path / "data"), f"{tmp_path}/./link")
    assert not is_same(str(tmp_path / "data"), str(tmp_path / "other"))
    assert is_same("postgresql://u@h/a", "postgresql://u@h/a")
    assert not is_same("postgresql://u@h/a", "data")


# what is interrupted

KILLED = """
import asyncio, os, signal, sys
from collab.storage.copying import copy_record
from collab.storage.location import source_at, target_at

def moved(progress):
    if progress.{at}:
        os.kill(os.getpid(), signal.SIGKILL)

async def copy():
    async with source_at(sys.argv[1]) as source, target_at(sys.argv[2]) as target:
        await copy_record(source, target, moved=moved, damaged=print)

asyncio.run(copy())
"""


@pytest.mark.parametrize("to", ["file", "server"])
@pytest.mark.parametrize("at", ["entities", "documents"])
async def test_a_copy_that_is_killed_leaves_no_record_and_is_made_again(
    tmp_path: Path, url: str, at: str, to: str
) -> None:
    source, target = str(tmp_path / "one"), str(tmp_path / "two") if to == "file" else url
    await fill(source)
    command = [sys.executable, "-c", KILLED.format(at=at), source, target]
    ended = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, check=False)
    assert ended.returncode == -signal.SIGKILL
    if to == "file":
        assert "collab.db" not in os.listdir(tmp_path / "two")
    done, _ = await copied(source, target)
    assert done.documents == 1
    if to == "file":
        assert sorted(os.listdir(tmp_path / "two")) == ["collab.db", "lock"]


@pytest.mark.parametrize("to", ["file", "server"])
async def test_a_copy_that_fails_leaves_no_record(tmp_path: Path, url: str, to: str) -> None:
    source, target = str(tmp_path / "one"), str(tmp_path / "two") if to == "file" else url
    await fill(source)

    def fail(progress: CopyProgress) -> None:
        if progress.documents:
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        async with source_at(source) as reads, target_at(target) as writes:
            await copy_record(reads, writes, moved=fail, damaged=print)
    assert (await copied(source, target))[0].documents == 1


async def test_a_copy_that_is_cancelled_does_not_wait_for_a_frozen_server(tmp_path: Path) -> None:
    await fill(str(tmp_path))
    process = PostgresProcess()
    freezing = ExitStack()
    frozen = asyncio.Event()

    def freeze(progress: CopyProgress) -> None:
        if progress.entities and not frozen.is_set():
            freezing.enter_context(process.frozen())
            frozen.set()

    async def copy() -> None:
        async with source_at(str(tmp_path)) as reads, target_at(process.url) as writes:
            await copy_record(reads, writes, moved=freeze, damaged=print)

    try:
        await asyncio.to_thread(process.start)
        copying = asyncio.create_task(copy())
        await frozen.wait()
        copying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await copying
    finally:
        freezing.close()
        await asyncio.to_thread(process.remove)
    async with source_at(str(tmp_path)) as reads:
        assert (await reads.counts()).documents == 1, "nobody holds the source"


async def test_nobody_becomes_the_writer_of_a_database_while_it_is_copied(tmp_path: Path, url: str) -> None:
    await fill(url)
    server = storage_at(url)
    async with source_at(url) as reads, target_at(str(tmp_path)) as writes:
        opening = asyncio.create_task(server.open())
        await copy_record(reads, writes, moved=lambda _: None, damaged=print)
        assert not opening.done()
    await opening
    await server.commit([entry(b"4.")])
    await server.close()


async def test_a_copy_of_which_somebody_may_have_written_the_source_meanwhile_is_none(tmp_path: Path, url: str) -> None:
    await fill(url)
    holders = (
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_locks WHERE locktype = 'advisory'"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    with pytest.raises(StorageError, match="cannot be reached"):
        async with source_at(url) as reads, target_at(str(tmp_path)) as writes:
            await execute(url, holders)
            await copy_record(reads, writes, moved=lambda _: None, damaged=print)
    assert not (tmp_path / "collab.db").exists()


async def test_a_server_that_a_copy_has_taken_over_writes_no_more(tmp_path: Path, url: str) -> None:
    await fill(url)
    server = storage_at(url)
    await server.open()
    done, _ = await copied(url, str(tmp_path), takes_over=True)
    assert done.events == 1
    with pytest.raises(StorageError, match="taken over"):
        await server.commit([entry(b"4.")])
    await server.close()


async def test_two_copies_do_not_use_one_database_at_once(tmp_path: Path, url: str) -> None:
    await fill(str(tmp_path / "one"))
    async with target_at(url):
        with pytest.raises(StorageError, match="another process holds this database"):
            await copied(str(tmp_path / "one"), url)


# memory


@given(st.lists(st.integers(0, 2 * BATCH_BYTES), max_size=20))
def test_portions_are_of_bounded_size_unless_they_are_one_row(sizes: list[int]) -> None:
    parts = list(portions(sizes))
    assert sum(count for count, _ in parts) == len(sizes)
    assert sum(size for _, size in parts) == sum(sizes)
    assert all(count == 1 or size <= BATCH_BYTES for count, size in parts)
    assert all(count > 0 for count, _ in parts)


async def test_batches_are_bounded_in_rows_and_in_bytes(tmp_path: Path, url: str) -> None:
    for location in (str(tmp_path), url):
        storage = storage_at(location)
        await storage.open()
        await storage.commit([entry(b"1.")] * (BATCH_ROWS * 2 + 1))
        for _ in range(4):
            await storage.commit([entry(bytes(BATCH_BYTES // 3), OTHER)])
        await storage.commit([entry(bytes(BATCH_BYTES + 1), OTHER)])
        await storage.close()
        async with source_at(location) as reads:
            batches = [batch async for batch in reads.batches()]
        assert all(len(batch.rows) <= BATCH_ROWS for batch in batches)
        assert all(len(batch.rows) == 1 or batch.size <= BATCH_BYTES for batch in batches)
        assert any(batch.size > BATCH_BYTES for batch in batches)
