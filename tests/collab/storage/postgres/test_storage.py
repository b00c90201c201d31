"""What PostgreSQL adds to the contract of the record: who may write, other schemas, damage, and lost answers."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import asyncpg
import pytest

from collab.errors import DocumentDamaged
from collab.names import RoomKey
from collab.storage.base import (
    Append,
    CommitId,
    Committed,
    Fact,
    IdempotencyKey,
    Record,
    Requested,
    SetAside,
    Snapshot,
    StorageCorrupt,
    StorageError,
)
from collab.storage.postgres import database as postgres_database
from collab.storage.postgres.database import translated
from collab.storage.postgres.schema import STEPS, check_server, prepare
from collab.storage.postgres.storage import PostgresStorage
from collab.testing.storage_case import KEY, OTHER, entry, fact, updates
from tests.postgres import PostgresProcess, PostgresServer


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    """Of a database that holds no record."""
    with postgres.records() as lend:
        yield lend()


@asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[PostgresStorage]:
    storage = PostgresStorage(url, **options)
    await storage.open()
    try:
        yield storage
    finally:
        await storage.close()


async def execute(url: str, statement: str) -> None:
    """Past the storage."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def commit_surely(
    storage: PostgresStorage, batch: list[Append], facts: list[Fact], commit_id: CommitId
) -> Committed:
    """As the recorder does: again until there is an answer."""
    while True:
        try:
            return await storage.commit(batch, facts, commit_id=commit_id)
        except StorageError:
            await asyncio.sleep(0.01)


async def test_whoever_opens_the_database_last_is_the_only_one_who_writes(url: str) -> None:
    async with opened(url) as first:
        await first.commit([entry(b"1")], [fact(1, row=0)])
        async with opened(url) as second:
            for attempt in (
                first.commit([entry(b"x")]),
                first.create(entry(b"x", OTHER)),
                first.replace_snapshot(KEY, Snapshot(1, b"x", b"")),
                first.set_aside(SetAside(KEY, 1, b"1", "hostile", 1.0)),
                first.cover(KEY, 1),
                first.save_schema("acme", "tasks", 1, b"{}"),
                first.save_webhook("hook", "acme", 1),
                first.trim(1e12),
                first.erase([KEY]),
            ):
                with pytest.raises(StorageError, match="taken over"):
                    await attempt
            assert updates(await first.load(KEY)) == [b"1"]
            assert list((await second.commit([entry(b"2")], [fact(2, row=0)])).positions) == [2]
            assert updates(await second.load(KEY)) == [b"1", b"2"]
            assert await second.load(OTHER) is None


async def test_a_schema_of_a_newer_version_is_refused_and_not_touched(url: str) -> None:
    async with opened(url):
        pass
    await execute(url, f"UPDATE collab.record SET version = {len(STEPS) + 1}")
    try:
        with pytest.raises(StorageCorrupt, match="newer version"):
            await PostgresStorage(url).open()
    finally:
        await execute(url, f"UPDATE collab.record SET version = {len(STEPS)}")


@pytest.mark.parametrize("table", ["things", "record"])
async def test_a_schema_of_another_application_is_refused_and_not_touched(postgres: PostgresServer, table: str) -> None:
    url = postgres.database()
    await execute(url, f"CREATE SCHEMA collab; CREATE TABLE collab.{table} (version int)")
    with pytest.raises(StorageCorrupt, match="another application"):
        await PostgresStorage(url).open()
    await execute(url, f"SELECT version FROM collab.{table}; CREATE TABLE collab.documents (n int)")


async def test_two_who_open_an_empty_database_at_once_make_one_schema(postgres: PostgresServer) -> None:
    url = postgres.database()
    storages = [PostgresStorage(url) for _ in range(4)]
    try:
        await asyncio.gather(*(storage.open() for storage in storages))
        epochs = {(await storage.positions()).epoch for storage in storages}
        assert len(epochs) == 1
    finally:
        for storage in storages:
            await storage.close()


async def test_who_does_not_take_over_waits_until_the_writer_has_closed(url: str) -> None:
    async with opened(url) as first:
        with pytest.raises(StorageError, match="a server uses this database"):
            await PostgresStorage(url, opens="if free").open()
        await first.commit([entry(b"1")])
    async with opened(url, opens="if free") as second:
        await second.commit([entry(b"2")])
        async with opened(url):
            pass  # its end is not the end of the one that it replaced


async def test_who_does_not_take_over_leaves_the_schema_of_a_running_server_alone(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(url):
        later = [*STEPS, ["CREATE TABLE collab.later (a int)"]]
        monkeypatch.setattr(postgres_database, "prepare", partial(prepare, steps=later))
        with pytest.raises(StorageError, match="a server uses this database"):
            await PostgresStorage(url, opens="if free").open()
        await execute(url, "CREATE TABLE collab.later (a int); DROP TABLE collab.later")  # it was not there


async def test_a_writer_that_was_replaced_does_not_free_the_record_of_its_successor(url: str) -> None:
    async with opened(url) as first, opened(url) as second:
        await first.close()
        with pytest.raises(StorageError, match="a server uses this database"):
            await PostgresStorage(url, opens="if free").open()
        await second.commit([entry(b"1")])


async def test_who_opens_to_read_makes_no_schema(postgres: PostgresServer) -> None:
    with pytest.raises(StorageError, match="holds no record"):
        await PostgresStorage(postgres.database(), opens="to read").open()


async def test_who_opens_to_read_reads_beside_a_writer_and_writes_nothing(url: str) -> None:
    async with opened(url) as writer:
        await writer.commit([entry(b"1")])
        async with opened(url, opens="to read") as reader:
            assert updates(await reader.load(KEY)) == [b"1"]
            with pytest.raises(StorageError, match="taken over"):
                await reader.commit([entry(b"x")])
        await writer.commit([entry(b"2")])
    async with opened(url, opens="to read") as reader:
        with pytest.raises(StorageError, match="taken over"):
            await reader.commit([entry(b"x")])


async def test_a_server_that_cannot_be_reached_is_named() -> None:
    with pytest.raises(StorageError, match=r"cannot be reached: .*Connect call failed"):
        await PostgresStorage("postgresql://nobody@127.0.0.1:1/nothing").open()


def test_errors_of_the_server_are_one_line_and_a_pooler_that_is_too_old_is_named() -> None:
    lost = asyncpg.InvalidSQLStatementNameError('prepared statement "x" does not exist')
    hinted = asyncpg.UndefinedTableError("there is no table")
    hinted.hint = "make one"
    with pytest.raises(StorageError, match=r"PgBouncer needs version 1\.21"), translated():
        raise lost
    with pytest.raises(StorageError) as refused, translated():
        raise hinted
    assert refused.value.message == "the database refused: there is no table"


def test_a_server_that_is_too_old_is_refused() -> None:
    check_server(14)
    with pytest.raises(StorageCorrupt, match="this is PostgreSQL 13, 14 or newer is needed"):
        check_server(13)


@pytest.mark.parametrize("setting", ["off", "local", "remote_apply"])
async def test_a_commit_waits_for_the_disk_also_where_a_setting_says_otherwise(
    postgres: PostgresServer, setting: str
) -> None:
    url = postgres.database()
    async with opened(url):
        pass
    await execute(
        url,
        """
        CREATE TABLE seen (setting text);
        CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO seen VALUES (current_setting('synchronous_commit'));
            RETURN NULL;
        END $$;
        CREATE CONSTRAINT TRIGGER see AFTER INSERT ON collab.log DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION see();
        """,
    )
    async with opened(f"{url}?synchronous_commit={setting}") as storage:
        await storage.commit([entry(b"1")], [fact(1, row=0)])
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("SELECT setting FROM seen") == (
        "remote_apply" if setting == "remote_apply" else "on"
    )
    await connection.close()


async def test_settings_of_the_server_that_make_saving_uncertain_are_warned_of(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    connection = await asyncpg.connect(url)
    off = [name for name in ("fsync", "full_page_writes") if await connection.fetchval(f"SHOW {name}") == "off"]
    await connection.close()
    async with opened(url):
        pass
    warnings = [record.message for record in caplog.records]
    assert [text.split()[3] for text in warnings] == off


async def test_a_limit_that_is_lifted_holds_no_longer_for_connections_that_began_under_it(
    postgres: PostgresServer,
) -> None:
    url = postgres.database()
    name = url.rpartition("/")[2]
    async with opened(url) as storage:
        await storage.commit([entry(b"1")])
        await execute(url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        await execute(
            url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        for _ in range(3):
            with pytest.raises(StorageError):
                await storage.commit([entry(b"2")], commit_id=CommitId("w", 1))
        await execute(postgres.url, f"ALTER DATABASE {name} RESET ALL")
        assert list((await commit_surely(storage, [entry(b"2")], [], CommitId("w", 1))).seqs) == [2]


async def test_a_frozen_server_holds_nobody_for_long_who_gives_up() -> None:
    process = PostgresProcess()
    try:
        await asyncio.to_thread(process.start)
        async with opened(process.url) as storage:
            await storage.commit([entry(b"1")])
            assert updates(await storage.load(KEY)) == [b"1"]
            with process.frozen():
                for _ in range(2):
                    with pytest.raises(TimeoutError):
                        async with asyncio.timeout(0.2):
                            await storage.list_set_aside()
            assert updates(await storage.load(KEY)) == [b"1"]
            with process.frozen():
                await storage.close()
    finally:
        process.remove()


async def test_an_isolation_that_would_miss_what_others_committed_is_refused(url: str) -> None:
    with pytest.raises(StorageError, match="read committed"):
        await PostgresStorage(url + "?default_transaction_isolation=serializable").open()


async def test_bytes_that_were_damaged_are_seen(url: str) -> None:
    async with opened(url) as storage:
        await storage.commit([entry(b"1"), entry(b"2"), entry(b"3")])
        await execute(url, "UPDATE collab.log SET content = 'x' WHERE seq = 2")
        record = await storage.load(KEY)
        assert updates(record) == [b"1", b"3"]
        assert [(one.seq, one.update) for one in await storage.list_set_aside()] == [(2, b"x")]
        await storage.replace_snapshot(KEY, Snapshot(3, b"state", b"index"))
        await execute(url, "UPDATE collab.snapshots SET seq = 2")  # as if it had been moved
        with pytest.raises(DocumentDamaged):
            await storage.load(KEY)
        await execute(url, "UPDATE collab.archive SET content = content || 'x'")
        with pytest.raises(DocumentDamaged):
            await storage.document_at(KEY, 1)


async def test_documents_and_named_writes_that_are_asked_for_at_once_are_each_found(url: str) -> None:
    keys = [RoomKey("acme", "documents", f"d{number}") for number in range(150)]
    async with opened(url) as storage:
        await storage.commit(
            [entry(b"%d" % number, key) for number, key in enumerate(keys)],
            [
                fact(1, {"n": number}, key, row=number, request=IdempotencyKey("ada", f"w{number}", b"digest"))
                for number, key in enumerate(keys)
            ],
        )
        await execute(url, "UPDATE collab.entities SET data = '{' WHERE id = 'd7'")
        missing = [RoomKey("acme", "documents", f"m{number}") for number in range(3)]
        loaded = await asyncio.gather(*map(storage.load, [*keys, *missing]), return_exceptions=True)
        assert isinstance(loaded.pop(7), DocumentDamaged)
        assert loaded[-3:] == [None] * 3
        for key, record in zip([*keys[:7], *keys[8:]], loaded, strict=False):
            assert isinstance(record, Record)
            assert record.entity is not None
            assert (record.entity.key, updates(record)) == (key, [b"%d" % keys.index(key)])
        found = await asyncio.gather(*(storage.request("acme", "ada", f"w{number}") for number in range(151)))
        assert found == [*(Requested(key, 1, b"digest") for key in keys), None]


async def test_commits_read_no_table_as_a_whole_and_updates_of_entities_write_to_no_index(
    postgres: PostgresServer,
) -> None:
    url = postgres.database()  # what earlier tests did is counted late
    connection = await asyncpg.connect(url)

    async def counts() -> tuple[int, int, int]:
        """How often a table was read as a whole, an entity updated, and only in its page."""
        reads, updated, in_page = await connection.fetchrow(
            "SELECT sum(pg_stat_get_numscans(oid)),"
            " sum(pg_stat_get_tuples_updated(oid)) FILTER (WHERE relname = 'entities'),"
            " sum(pg_stat_get_tuples_hot_updated(oid)) FILTER (WHERE relname = 'entities') FROM pg_class"
            " WHERE relkind = 'r' AND relnamespace = 'collab'::regnamespace AND relname <> 'record'"
        )
        return int(reads), int(updated), int(in_page)

    async with opened(url) as storage:
        version = 0
        first = last = await counts()
        while last[1] < first[1] + 10 or first[1] == 0:  # the server counts from time to time, for whole sessions
            if first[1] == 0:
                first = last
            version += 1
            await storage.commit(
                [entry(b"1"), entry(b"2", OTHER)],
                [fact(version, {"n": version}, at=float(version), row=0)],
                commit_id=CommitId("w", version),
            )
            last = await counts()
        assert last[0] == first[0]
        assert last[2] > first[2]
    await connection.close()


async def test_texts_that_no_database_can_hold_harm_nobody(url: str) -> None:
    async with opened(url) as storage:
        await storage.commit(
            [entry(b"1", user_id="a\0b"), entry(b"2", user_id="\ud800")],
            [fact(1, {"n": "x\0y", "m\0": 1}, user_id="a\0b"), fact(1, key=OTHER)],
        )
        await storage.set_aside(SetAside(KEY, None, b"x", "because\0of", 1.0))
        row = await storage.entity(KEY)
        assert row is not None
        assert (row.data["n"], row.data["m\0"]) == ("x\0y", 1)
        record = await storage.load(KEY)
        assert record is not None
        assert [one.user_id for one in record.rows] == ["a\1b", "?"]


async def test_connections_that_are_cut_in_the_middle_of_commits_lose_and_double_nothing(url: str) -> None:
    chance = random.Random(1)

    async def cut() -> None:
        connection, cuts = await asyncpg.connect(url), 0
        while cuts < 5:
            await asyncio.sleep(chance.random() * 0.01)
            cuts += await connection.fetchval(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                " AND state = 'active' AND query LIKE '%commit_2%'"
            )
        await connection.close()

    async with opened(url) as storage:
        cutting = asyncio.create_task(cut())
        number = 0
        while number < 150 or not cutting.done():
            number += 1
            committed = await commit_surely(
                storage,
                [entry(b"%d." % number), entry(b"%d." % number, OTHER)],
                [fact(number, row=0)],
                CommitId("w", number),
            )
            assert (list(committed.seqs), list(committed.positions)) == ([number, number], [number])
        await cutting
        for key in (KEY, OTHER):
            assert updates(await storage.load(key)) == [b"%d." % n for n in range(1, number + 1)]
        events = await storage.events("acme", 0, limit=100_000)
        assert [(event.position, event.version) for event in events] == [(n, n) for n in range(1, number + 1)]


@pytest.mark.chaos
async def test_a_server_that_is_killed_and_frozen_under_writes_loses_and_doubles_nothing() -> None:
    process = PostgresProcess()
    keys = [RoomKey("acme", "documents", f"d{number}") for number in range(3)]
    numbers = dict.fromkeys(keys, 0)
    stop = asyncio.Event()

    async def write(storage: PostgresStorage) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            key = keys[number % 3]
            numbers[key] += 1
            batch, facts = [entry(b"%d." % numbers[key], key)], [fact(numbers[key], key=key, row=0)]
            committed = await commit_surely(storage, batch, facts, CommitId("w", number))
            assert (list(committed.seqs), list(committed.positions)) == ([numbers[key]], [number])

    try:
        await asyncio.to_thread(process.start)
        async with opened(process.url) as storage:
            writing = asyncio.create_task(write(storage))
            for turn in range(10):
                before = sum(numbers.values())
                while sum(numbers.values()) < before + 5 and not writing.done():
                    await asyncio.sleep(0.005)
                if turn % 3 == 2:
                    assert process.process is not None
                    process.process.send_signal(signal.SIGSTOP)
                    await asyncio.sleep(0.2)
                    process.process.send_signal(signal.SIGCONT)
                else:
                    await asyncio.to_thread(process.stop, signal.SIGQUIT if turn % 3 else signal.SIGKILL)
                    await asyncio.to_thread(process.start)
            stop.set()
            await writing
            for key in keys:
                assert updates(await storage.load(key)) == [b"%d." % n for n in range(1, numbers[key] + 1)]
            events = await storage.events("acme", 0, limit=100_000)
            assert [event.position for event in events] == list(range(1, sum(numbers.values()) + 1))
    finally:
        await asyncio.to_thread(process.remove)


async def test_what_is_erased_is_in_no_statistics_of_the_planner(url: str) -> None:
    async with opened(url) as storage:
        facts = [fact(1, {"team": team}, RoomKey("acme", "tasks", team)) for team in ("kept", "erased-7f3a")]
        await storage.commit([], facts)
        await storage.index("tasks", [(("team",),)])
        await execute(url, "ANALYZE")
        assert await is_measured(url, "erased-7f3a")
        await storage.erase([RoomKey("acme", "tasks", "erased-7f3a")])
        assert not await is_measured(url, "erased-7f3a")
        assert await is_measured(url, "kept")


async def is_measured(url: str, text: str) -> bool:
    """Whether a text is in the statistics of the planner."""
    connection = await asyncpg.connect(url)
    try:
        views = ("pg_stats", "pg_stats_ext", "pg_stats_ext_exprs")
        return any(
            [
                await connection.fetchval(f"SELECT bool_or(strpos(s::text, $1) > 0) FROM {view} AS s", text)
                for view in views
            ]
        )
    finally:
        await connection.close()
