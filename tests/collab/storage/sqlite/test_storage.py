"""SQLite beyond the contract: damage, migrations, locks, a full disk, and disk usage."""

import asyncio
import os
import resource
import sqlite3
import sys
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from collab.access.price import METER, Ledger, Meter, Payer, Share
from collab.errors import DocumentDamaged
from collab.names import RoomKey
from collab.storage.base import CommitId, Record, SetAside, Snapshot, StorageCorrupt, StorageError
from collab.storage.sqlite import commit as sqlite_commit
from collab.storage.sqlite import database as sqlite_database
from collab.storage.sqlite import documents as sqlite_documents
from collab.storage.sqlite.database import Database
from collab.storage.sqlite.schema import STEPS, prepare
from collab.storage.sqlite.statements import moment
from collab.storage.sqlite.storage import SqliteStorage
from collab.testing.storage_case import KEY, OTHER, entry, fact, updates
from tests.collab.storage.database import VERSION_1, bytes_on_disk, opened, raw


async def test_a_failing_load_is_an_error_and_never_an_absent_document(tmp_path: Path) -> None:
    async with opened(tmp_path) as storage:
        await storage.commit([entry(b"1"), entry(b"2")])
        with raw(tmp_path) as other:
            other.execute("ALTER TABLE log RENAME TO gone")
        for _ in range(2):
            with pytest.raises(StorageError):
                await storage.load(KEY)
            with pytest.raises(StorageError):
                await storage.commit([entry(b"3")])
        with raw(tmp_path) as other:
            other.execute("ALTER TABLE gone RENAME TO log")
        assert updates(await storage.load(KEY)) == [b"1", b"2"]


@pytest.mark.parametrize("large", [[bytes(100_000)], [b"x"] * 300], ids=["bytes", "rows"])
async def test_what_is_small_never_waits_for_a_large_document(
    tmp_path: Path, large: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    held = threading.Event()
    load = sqlite_documents.load

    def load_later(connection: sqlite3.Connection, key: RoomKey) -> tuple[Record | None, list[SetAside]]:
        if key == OTHER:
            assert held.wait(40)
        return load(connection, key)

    async with opened(tmp_path) as storage:
        await storage.commit([entry(b"small"), *(entry(update, key=OTHER) for update in large)])
        monkeypatch.setattr(sqlite_documents, "load", load_later)
        loading = asyncio.create_task(storage.load(OTHER))
        async with asyncio.timeout(40):
            assert updates(await storage.load(KEY)) == [b"small"]
            assert await storage.entity(KEY) is None
        assert not loading.done()
        held.set()
        assert updates(await loading) == large


async def test_a_damaged_file_is_an_error_and_is_not_written_to(tmp_path: Path) -> None:
    async with opened(tmp_path) as storage:
        await storage.commit([entry(bytes(2000)) for _ in range(100)])
    path = tmp_path / "collab.db"
    content = bytearray(path.read_bytes())
    for page in range(4096, len(content), 4096):
        content[page : page + 100] = b"\xa5" * 100
    path.write_bytes(content)
    with pytest.raises((StorageCorrupt, StorageError)):
        async with opened(tmp_path) as storage:
            await storage.load(KEY)
    assert path.read_bytes()[4096:] == content[4096:]


async def test_a_corrupt_row_is_set_aside_and_the_rest_opens(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(tmp_path) as storage:
        await storage.commit([entry(b"one"), entry(b"two"), entry(b"three"), entry(b"x", OTHER)])
    with raw(tmp_path) as other:
        other.execute("UPDATE log SET content = x'747761' WHERE seq = 2")
    async with opened(tmp_path) as storage:
        record = await storage.load(KEY)
        assert record is not None
        assert updates(record) == [b"one", b"three"]
        assert [(aside.seq, aside.update) for aside in record.set_aside] == [(2, b"twa")]
        assert "row 2 of acme/documents/doc_123 does not match its checksum" in caplog.text
        assert list(await storage.list_set_aside()) == list(record.set_aside)
        again = await storage.load(KEY)
        assert again == record
        await storage.commit([entry(b"four")])
        assert updates(await storage.load(OTHER)) == [b"x"]
    async with opened(tmp_path) as storage:
        record = await storage.load(KEY)
        assert record is not None
        assert [row.seq for row in record.rows] == [1, 3, 4]
        assert [aside.seq for aside in record.set_aside] == [2]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE log SET content = 17 WHERE seq = 2",
        "UPDATE log SET content = 'two' WHERE seq = 2",
        "UPDATE log SET crc = crc + 1 WHERE seq = 2",
        "UPDATE log SET crc = 'x' WHERE seq = 2",
        "UPDATE log SET seq = 9 WHERE seq = 2",
    ],
)
async def test_a_row_is_set_aside_whatever_is_wrong_with_it(tmp_path: Path, damage: str) -> None:
    async with opened(tmp_path) as storage:
        await storage.commit([entry(b"one"), entry(b"two"), entry(b"three")])
        with raw(tmp_path) as other:
            other.execute(damage)
        record = await storage.load(KEY)
        assert updates(record) == [b"one", b"three"]
        assert record is not None
        assert len(record.set_aside) == 1


async def test_a_corrupt_snapshot_refuses_its_document_and_keeps_its_bytes(tmp_path: Path) -> None:
    async with opened(tmp_path) as storage:
        await storage.commit([entry(b"one"), entry(b"two"), entry(b"x", OTHER)])
        await storage.replace_snapshot(KEY, Snapshot(1, b"state" * 100, b"index"))
        with raw(tmp_path) as other:
            (content,) = other.execute("SELECT content FROM snapshots").fetchone()
            for damaged in (content[:-1], zlib.compress(b"another"), b"", content[:20] + b"\0" + content[21:]):
                other.execute("UPDATE snapshots SET content = ?", (damaged,))
                with pytest.raises(DocumentDamaged) as caught:
                    await storage.load(KEY)
                assert not caught.value.retryable
                assert other.execute("SELECT content FROM snapshots").fetchone() == (damaged,)
            assert updates(await storage.load(OTHER)) == [b"x"]
            other.execute("UPDATE snapshots SET content = ?", (content,))
        assert updates(await storage.load(KEY)) == [b"two"]


async def test_a_database_of_version_1_opens(tmp_path: Path) -> None:
    with raw(tmp_path) as old:
        old.executescript(VERSION_1)
    async with opened(tmp_path) as storage:
        record = await storage.load(KEY)
        assert record is not None
        assert record.lineage == "00112233445566aa"
        assert record.snapshot == Snapshot(2, b"state", b"index")
        assert [(row.seq, row.update, row.user_id, row.at) for row in record.rows] == [
            (3, b"\x02\x03\xff", "ada", 1700000001.25),
            (4, b"", None, 1700000000.0),
        ]
        assert [aside.update for aside in record.set_aside] == [b"\x01\x00\x02"]
        assert list((await storage.commit([entry(b"5")])).seqs) == [5]


async def test_a_database_of_a_newer_version_is_refused_untouched(tmp_path: Path) -> None:
    async with opened(tmp_path) as storage:
        await storage.commit([entry(b"1")])
    with raw(tmp_path) as newer:
        newer.execute(f"PRAGMA user_version = {len(STEPS) + 1}")
        newer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = (tmp_path / "collab.db").read_bytes()
    with pytest.raises(StorageCorrupt, match="newer version"):
        async with opened(tmp_path):
            pass
    assert (tmp_path / "collab.db").read_bytes() == before


async def test_a_file_of_another_application_is_refused_untouched(tmp_path: Path) -> None:
    with raw(tmp_path) as other:
        other.execute("CREATE TABLE theirs (a)")
    before = (tmp_path / "collab.db").read_bytes()
    with pytest.raises(StorageCorrupt, match="another application"):
        async with opened(tmp_path):
            pass
    assert (tmp_path / "collab.db").read_bytes() == before


async def test_a_file_that_is_no_database_is_refused_untouched(tmp_path: Path) -> None:
    content = b"Dear diary, " * 1000
    (tmp_path / "collab.db").write_bytes(content)
    with pytest.raises(StorageCorrupt):
        async with opened(tmp_path):
            pass
    assert (tmp_path / "collab.db").read_bytes() == content


def test_each_step_forward_is_taken_wholly_or_not_at_all(tmp_path: Path) -> None:
    with raw(tmp_path) as database:
        prepare(database)
        database.execute("INSERT INTO documents VALUES (1, 'p', 'c', 'i', 'lineage', 0)")
        good = "ALTER TABLE documents ADD COLUMN colour TEXT; UPDATE documents SET colour = 'red'"
        bad = "CREATE TABLE half (a); CREATE TABLE half (a)"
        with pytest.raises(sqlite3.OperationalError):
            prepare(database, [*STEPS, good, bad])
        version = len(STEPS)
        assert database.execute("PRAGMA user_version").fetchone() == (version + 1,)
        assert database.execute("SELECT colour FROM documents").fetchone() == ("red",)
        assert database.execute("SELECT count(*) FROM sqlite_master WHERE name = 'half'").fetchone() == (0,)
        prepare(database, [*STEPS, good, "CREATE TABLE whole (a)"])
        assert database.execute("PRAGMA user_version").fetchone() == (version + 2,)


async def test_a_folder_belongs_to_one_process_at_a_time(tmp_path: Path) -> None:
    async with opened(tmp_path) as storage:
        with pytest.raises(StorageError, match="another process is using"):
            async with opened(tmp_path):
                pass
        await storage.commit([entry(b"1")])
    async with opened(tmp_path) as storage:
        assert updates(await storage.load(KEY)) == [b"1"]


async def test_a_killed_process_lets_go_of_the_folder(tmp_path: Path) -> None:
    script = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from collab.storage.sqlite.storage import SqliteStorage\n"
        "async def main():\n"
        "    await SqliteStorage(Path(sys.argv[1])).open()\n"
        "    print('open', flush=True)\n"
        "    sys.stdin.read()\n"
        "asyncio.run(main())\n"
    )
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, str(tmp_path), stdin=pipe, stdout=pipe)
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"open\n"
        with pytest.raises(StorageError, match="another process"):
            async with opened(tmp_path):
                pass
    finally:
        process.kill()
        await process.wait()
    async with opened(tmp_path) as storage:
        assert await storage.load(KEY) is None


async def test_a_locked_database_refuses_and_takes_the_same_commit_later(tmp_path: Path) -> None:
    async with opened(tmp_path) as storage:
        await storage.commit([entry(b"1")])
        with raw(tmp_path) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StorageError):
                await storage.commit([entry(b"2"), entry(b"x", OTHER)])
            assert updates(await storage.load(KEY)) == [b"1"], "loads do not wait for whoever writes"
            other.execute("ROLLBACK")
        assert list((await storage.commit([entry(b"2"), entry(b"x", OTHER)])).seqs) == [2, 1]
        assert updates(await storage.load(KEY)) == [b"1", b"2"]


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """Limit the size of files that this process writes, to simulate a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_refuses_and_writes_nothing_by_halves(tmp_path: Path) -> None:
    async with opened(tmp_path) as storage:
        await storage.commit([entry(b"1")])
        with files_limited_to(1024 * 1024):
            with pytest.raises(StorageError):
                await storage.commit([entry(b"2"), entry(os.urandom(2 * 1024 * 1024)), entry(b"x", OTHER)])
            assert updates(await storage.load(KEY)) == [b"1"]
            assert await storage.load(OTHER) is None
            with pytest.raises(StorageError):
                await storage.replace_snapshot(KEY, Snapshot(1, os.urandom(2 * 1024 * 1024), b""))
            assert updates(await storage.load(KEY)) == [b"1"]
        assert list((await storage.commit([entry(b"2"), entry(b"x", OTHER)])).seqs) == [2, 1]
    async with opened(tmp_path) as storage:
        assert updates(await storage.load(KEY)) == [b"1", b"2"]


async def test_a_commit_whose_caller_went_away_is_whole(tmp_path: Path) -> None:
    async with opened(tmp_path) as storage:
        for number in range(20):
            task = asyncio.create_task(storage.commit([entry(bytes([number])), entry(bytes([number]), OTHER)]))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await storage.commit([entry(b"end"), entry(b"end", OTHER)])
        assert updates(await storage.load(KEY)) == updates(await storage.load(OTHER))


async def test_more_documents_than_are_remembered_keep_their_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_commit, "TAILS", 3)
    keys = [RoomKey("p", "c", str(number)) for number in range(10)]
    async with opened(tmp_path) as storage:
        for turn in range(3):
            seqs, _ = await storage.commit([entry(b"x", key) for key in [*keys, *keys]])
            assert list(seqs) == [2 * turn + 1] * 10 + [2 * turn + 2] * 10


async def test_a_user_id_that_is_no_unicode_does_not_hold_up_the_log(tmp_path: Path) -> None:
    async with opened(tmp_path) as storage:
        await storage.commit([entry(b"1"), entry(b"2", user_id="a\ud800b"), entry(b"3", OTHER)])
        record = await storage.load(KEY)
        assert record is not None
        assert [(row.seq, row.update, row.user_id) for row in record.rows] == [(1, b"1", "ada"), (2, b"2", "a?b")]
        assert updates(await storage.load(OTHER)) == [b"3"]


async def test_the_disk_shrinks_once_the_log_is_cut(tmp_path: Path) -> None:
    words = Random(1)
    document = bytes(words.choices(b"etaoin shrdlu", k=500_000))
    async with opened(tmp_path, history_seconds=0) as storage:
        for _ in range(20):
            await storage.commit([entry(words.randbytes(30)) for _ in range(1000)])
        assert bytes_on_disk(tmp_path) > 1_000_000
        await storage.replace_snapshot(KEY, Snapshot(20_000, document, b"index"))
        while storage.trimming:
            await asyncio.sleep(0.01)
        assert bytes_on_disk(tmp_path) < len(document)
        record = await storage.load(KEY)
        assert record is not None
        assert record.snapshot == Snapshot(20_000, document, b"index")


async def test_a_commit_is_on_the_disk_before_it_is_acknowledged(tmp_path: Path) -> None:
    async with opened(tmp_path) as storage:
        writer = storage._database.writer
        assert writer is not None
        assert writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert writer.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


async def test_a_commit_takes_one_statement_for_each_kind_of_row(tmp_path: Path) -> None:
    """Each waits for the event loop's thread twice."""
    keys = [RoomKey("acme", "notes", f"n{number}") for number in range(13)]
    seen: list[str] = []
    async with opened(tmp_path) as storage:
        writer = storage._database.writer
        assert writer is not None
        for version in (1, 2, 3):
            if version == 3:
                writer.set_trace_callback(seen.append)
            batch = [entry(b"x", key) for key in keys]
            facts = [fact(version, key=key, row=row, content_seq=version) for row, key in enumerate(keys)]
            await storage.commit(batch, facts, commit_id=CommitId("w", version))
        writer.set_trace_callback(None)
    assert [" ".join(statement.split()[:5]).partition(" VALUES")[0].partition(" (")[0] for statement in seen] == [
        "BEGIN IMMEDIATE",
        "INSERT OR ROLLBACK INTO log",
        "INSERT OR ROLLBACK INTO events",
        "INSERT OR ROLLBACK INTO entities",
        "UPDATE receipts SET number =",
        "COMMIT",
    ]


async def test_a_commit_writes_each_page_once(tmp_path: Path) -> None:
    """And so nothing of a document into a temporary file."""

    def written() -> int:
        return int(Path("/proc/self/io").read_text().split("wchar: ")[1].split()[0])

    keys = [RoomKey("acme", "notes", f"n{number}") for number in range(256)]
    async with opened(tmp_path) as storage:
        wal = storage.path.with_name(f"{storage.path.name}-wal")
        for _ in range(20):  # so that the rows of each document have a page of their own
            await storage.commit([entry(b"x" * 200, key) for key in keys])
        await storage._database.scrub()
        before = written()
        await storage.commit([entry(b"x", key) for key in keys])
        assert wal.stat().st_size > 256 * 4096
        assert written() - before < 1.2 * wal.stat().st_size


async def test_a_storage_that_is_not_open_says_so(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path)
    with pytest.raises(StorageError):
        await storage.load(KEY)
    await storage.open()
    await storage.close()
    await storage.close()
    with pytest.raises(StorageError):
        await storage.commit([entry(b"1")])


async def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot use"):
        async with opened(tmp_path / "file" / "data"):
            pass


async def test_a_query_that_is_not_wanted_any_more_is_ended_and_harms_no_other(tmp_path: Path) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    database = Database(tmp_path, lock_seconds=1.0, rolled_back=lambda: None)
    await database.open()
    ended = threading.Event()

    def run(connection: sqlite3.Connection) -> None:
        try:
            with moment(connection):
                connection.execute(endless).fetchone()
        finally:
            ended.set()

    for _ in range(3):
        ended.clear()
        queries = [asyncio.create_task(database.query(run)) for _ in range(3)]
        for _ in range(5):  # others are served meanwhile, and on the same connections afterwards
            assert await database.query(lambda connection: connection.execute("SELECT 1").fetchone()) == (1,)
        for query in queries:
            query.cancel()
        await asyncio.gather(*queries, return_exceptions=True)
        await asyncio.to_thread(ended.wait)
    found = await asyncio.gather(
        *(database.query(lambda connection: connection.execute("SELECT 2").fetchone()) for _ in range(20))
    )
    assert found == [(2,)] * 20
    await database.close()


async def test_nobody_else_may_read_the_database(tmp_path: Path) -> None:
    data = tmp_path / "new" / "data"
    previous = os.umask(0)
    try:
        async with opened(data) as storage:
            await storage.commit([entry(b"1")])
            modes = {path.name: path.stat().st_mode & 0o777 for path in [data, *data.iterdir()]}
    finally:
        os.umask(previous)
    assert modes.pop("data") == 0o700
    assert {"collab.db", "collab.db-wal", "collab.db-shm", "lock"} <= modes.keys()
    assert set(modes.values()) == {0o600}
    (data / "collab.db").chmod(0o644)  # of an older version
    async with opened(data):
        assert (data / "collab.db").stat().st_mode & 0o777 == 0o600


async def test_a_query_is_charged_to_its_caller_even_if_cancelled(tmp_path: Path) -> None:
    counting = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT ?) SELECT count(*) FROM n"
    book = Ledger(user=Share(0.25), address=Share(0.5), project=Share(0.0))
    database = Database(tmp_path, lock_seconds=1.0, rolled_back=lambda: None)
    await database.open()
    begun = threading.Event()

    def run(connection: sqlite3.Connection, limit: int = 100_000) -> object:
        begun.set()
        return connection.execute(counting, (limit,)).fetchone()

    assert await database.query(run) == (100_000,)
    assert book.used == {}
    token = METER.set(Meter(book, Payer("p", "user", "ada")))
    assert await database.query(run) == (100_000,)
    first = book.used["p", "user"]
    assert first > 0.001
    assert await database.load(run) == (100_000,)
    second = book.used["p", "user"]
    assert second > first
    begun.clear()

    def run_on(connection: sqlite3.Connection) -> object:
        connection.execute(counting, (1_000_000,)).fetchone()  # small amounts are charged together with later ones
        return run(connection, -1)

    endless = asyncio.create_task(database.query(run_on))
    await asyncio.to_thread(begun.wait)
    endless.cancel()
    await asyncio.gather(endless, return_exceptions=True)
    METER.reset(token)
    await database.close()
    await asyncio.sleep(0)
    assert book.used["p", "user"] > second


def holding(folder: Path, text: bytes) -> list[str]:
    return [path.name for path in folder.iterdir() if text in path.read_bytes()]


async def test_erased_data_stays_in_the_wal_only_while_somebody_reads_and_that_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_database, "_SCRUBS", 2)
    async with opened(tmp_path) as storage:
        await storage.commit([entry(b"secret-7f3a")])
        with raw(tmp_path) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM log").fetchone()
            with pytest.raises(StorageError, match="permanent readers"):
                await storage.erase([KEY])
        assert holding(tmp_path, b"secret-7f3a")
        await storage.erase([KEY])
        assert not holding(tmp_path, b"secret-7f3a")
