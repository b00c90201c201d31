"""The PostgreSQL schema, step by step, in the PostgreSQL schema ``collab``.

A database is brought forward or refused, never guessed at. A step, once released, is never changed: the next version is
one more step. Functions carry the number of their step, so that a process of the version before keeps its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import monotonic

import asyncpg

from collab.storage.base import RecordInUse, StorageCorrupt, StorageError
from collab.storage.postgres.functions import FUNCTIONS_1
from collab.storage.postgres.node_functions import NODE_FUNCTIONS_1
from collab.storage.postgres.search_functions import SEARCH_FUNCTIONS_2, SEARCH_FUNCTIONS_3
from collab.storage.versions import check_known, check_newest

OLDEST_SERVER = 14
_LOCK = 1279487852  # "LCol": the class of these advisory locks. The next two: a node's writes, positions
_MIGRATING = 0
_ENTERING = 1  # held while a process becomes a node, and while a copy keeps others from it

STEPS: Sequence[Sequence[str]] = (
    # 1: as the fifth version of the schema of SQLite, but: ``record`` is one row; only ``nodes`` write; ``keys`` is
    # always there, and ``texts`` is ``data`` with its texts as they were written, NULL if that is ``keys``.
    (
        """
        CREATE TABLE collab.record (
            version int NOT NULL,
            epoch text NOT NULL,
            base bigint NOT NULL,
            newest_at float8 NOT NULL,
            cluster_key text NOT NULL
        );
        INSERT INTO collab.record VALUES (
            0, left(replace(gen_random_uuid()::text, '-', ''), 16), 0, 0, gen_random_uuid()::text || gen_random_uuid()
        );
        CREATE TABLE collab.nodes (
            nid int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            name text NOT NULL,
            version text NOT NULL,
            started float8 NOT NULL,
            dead boolean NOT NULL,
            url text NOT NULL
        );
        CREATE TABLE collab.beats (
            nid int PRIMARY KEY,
            n bigint NOT NULL
        );
        CREATE TABLE collab.rooms (
            project text COLLATE "C" NOT NULL,
            collection text COLLATE "C" NOT NULL,
            id text COLLATE "C" NOT NULL,
            nid int NOT NULL,
            PRIMARY KEY (project, collection, id)
        );
        CREATE TABLE collab.jobs (
            name text COLLATE "C" PRIMARY KEY,
            nid int NOT NULL
        );
        CREATE TABLE collab.announcements (
            number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            project text COLLATE "C",
            kind text NOT NULL,
            body text NOT NULL,
            at float8 NOT NULL
        );
        CREATE TABLE collab.documents (
            rid bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            project text COLLATE "C" NOT NULL,
            collection text COLLATE "C" NOT NULL,
            id text COLLATE "C" NOT NULL,
            lineage text NOT NULL,
            created_at float8 NOT NULL,
            UNIQUE (project, collection, id)
        );
        CREATE TABLE collab.log (
            rid bigint NOT NULL,
            seq bigint NOT NULL,
            content bytea NOT NULL,
            user_id text,
            at float8 NOT NULL,
            crc bigint NOT NULL,
            PRIMARY KEY (rid, seq)
        );
        ALTER TABLE collab.log ALTER content SET STORAGE EXTERNAL;
        CREATE TABLE collab.snapshots (
            rid bigint PRIMARY KEY,
            seq bigint NOT NULL,
            content bytea NOT NULL,
            crc bigint NOT NULL,
            gate bytea NOT NULL,
            gate_crc bigint NOT NULL
        );
        ALTER TABLE collab.snapshots ALTER content SET STORAGE EXTERNAL, ALTER gate SET STORAGE EXTERNAL;
        CREATE TABLE collab.set_aside (
            number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            project text COLLATE "C" NOT NULL,
            collection text COLLATE "C" NOT NULL,
            id text COLLATE "C" NOT NULL,
            seq bigint,
            content bytea NOT NULL,
            reason text NOT NULL,
            at float8 NOT NULL
        );
        CREATE INDEX ON collab.set_aside (project, collection, id);
        CREATE TABLE collab.archive (
            rid bigint NOT NULL,
            from_seq bigint NOT NULL,
            to_seq bigint NOT NULL,
            from_at float8 NOT NULL,
            to_at float8 NOT NULL,
            content bytea NOT NULL,
            crc bigint NOT NULL,
            PRIMARY KEY (rid, to_seq)
        );
        ALTER TABLE collab.archive ALTER content SET STORAGE EXTERNAL;
        CREATE INDEX ON collab.archive (rid, to_at);
        CREATE TABLE collab.bases (
            rid bigint NOT NULL,
            seq bigint NOT NULL,
            content bytea NOT NULL,
            crc bigint NOT NULL,
            PRIMARY KEY (rid, seq)
        );
        ALTER TABLE collab.bases ALTER content SET STORAGE EXTERNAL;
        CREATE TABLE collab.uncovered (
            number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            rid bigint NOT NULL UNIQUE
        );
        CREATE TABLE collab.projects (
            project text COLLATE "C" PRIMARY KEY,
            oldest bigint NOT NULL,
            newest bigint NOT NULL
        );
        CREATE TABLE collab.entities (
            eid bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            project text COLLATE "C" NOT NULL,
            collection text COLLATE "C" NOT NULL,
            id text COLLATE "C" NOT NULL,
            version bigint NOT NULL,
            deleted boolean NOT NULL,
            data text NOT NULL,
            keys jsonb NOT NULL,
            texts jsonb,
            heads bytea NOT NULL,
            content_seq bigint NOT NULL,
            created_at float8 NOT NULL,
            updated_at float8 NOT NULL,
            deleted_at float8 GENERATED ALWAYS AS (CASE WHEN deleted THEN updated_at END) STORED,
            UNIQUE (project, collection, id)
        ) WITH (fillfactor = 70);
        -- not over updated_at: an update that changes a column of an index writes to all indexes
        CREATE INDEX ON collab.entities (deleted_at) WHERE deleted_at IS NOT NULL;
        CREATE TABLE collab.events (
            project text COLLATE "C" NOT NULL,
            position bigint NOT NULL,
            eid bigint NOT NULL,
            version bigint NOT NULL,
            type text NOT NULL,
            seq bigint NOT NULL,
            user_id text,
            at float8 NOT NULL,
            data text NOT NULL,
            changes text NOT NULL,
            conflicts text,
            PRIMARY KEY (project, position),
            UNIQUE (eid, version)
        );
        CREATE TABLE collab.requests (
            number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            project text COLLATE "C" NOT NULL,
            caller text COLLATE "C" NOT NULL,
            request text COLLATE "C" NOT NULL,
            digest bytea NOT NULL,
            eid bigint NOT NULL,
            version bigint NOT NULL,
            at float8 NOT NULL,
            UNIQUE (project, caller, request)
        );
        CREATE INDEX ON collab.requests (at);
        CREATE INDEX ON collab.requests (eid);
        CREATE TABLE collab.receipts (
            writer text PRIMARY KEY,
            nid int NOT NULL,
            number bigint NOT NULL,
            seqs bigint[] NOT NULL,
            positions bigint[] NOT NULL
        );
        CREATE TABLE collab.schemas (
            project text COLLATE "C" NOT NULL,
            collection text COLLATE "C" NOT NULL,
            version bigint NOT NULL,
            content bytea NOT NULL,
            PRIMARY KEY (project, collection)
        );
        CREATE TABLE collab.webhooks (
            name text COLLATE "C" NOT NULL,
            project text COLLATE "C" NOT NULL,
            position bigint NOT NULL,
            PRIMARY KEY (name, project)
        );
        CREATE TABLE collab.dead_letters (
            number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            webhook text COLLATE "C" NOT NULL,
            project text COLLATE "C" NOT NULL,
            collection text COLLATE "C" NOT NULL,
            id text COLLATE "C" NOT NULL,
            event text NOT NULL,
            reason text NOT NULL,
            at float8 NOT NULL
        );
        CREATE INDEX ON collab.dead_letters (webhook);
        CREATE TABLE collab.revocations (
            project text COLLATE "C" NOT NULL,
            kind text COLLATE "C" NOT NULL,
            name text COLLATE "C" NOT NULL,
            issued_before float8 NOT NULL,
            kept_until float8 NOT NULL,
            PRIMARY KEY (project, kind, name)
        );
        """,
        NODE_FUNCTIONS_1,
        FUNCTIONS_1,
    ),
    # 2: full-text search.
    (SEARCH_FUNCTIONS_2,),
    # 3: full-text search in what documents say.
    (SEARCH_FUNCTIONS_3,),
)


async def prepare(connection: asyncpg.Connection, steps: Sequence[Sequence[str]] = STEPS) -> None:
    """Bring a database to the newest version, one transaction for each step; one process at a time.

    Raises :class:`StorageCorrupt` if the server or the schema is too old or too new, or the schema is not ours; it is
    untouched then.
    """
    check_server(connection.get_server_version().major)
    done = False
    while not done:
        async with connection.transaction(isolation="read_committed"):
            await connection.execute("SELECT pg_advisory_xact_lock($1, $2)", _LOCK, _MIGRATING)
            version = await read_version(connection)
            check_known(version, len(steps))
            done = version >= len(steps)
            if not done:
                await connection.execute("CREATE SCHEMA IF NOT EXISTS collab")
                for statements in steps[version]:
                    await connection.execute(statements)
                await connection.execute("UPDATE collab.record SET version = $1", version + 1)


def check_server(major: int) -> None:
    """Raise :class:`StorageCorrupt` if a server of this version is too old."""
    if major < OLDEST_SERVER:
        raise StorageCorrupt(f"this is PostgreSQL {major}, {OLDEST_SERVER} or newer is needed")


async def check(connection: asyncpg.Connection) -> None:
    """Raise unless the schema has the newest version: see :func:`collab.storage.versions.check_newest`."""
    check_newest(await read_version(connection), len(STEPS))


async def check_free(connection: asyncpg.Connection) -> None:
    """Raise :class:`StorageError` if a process uses the record, or was killed while it did."""
    if await read_version(connection) and await connection.fetchval(
        "SELECT EXISTS (SELECT 1 FROM collab.nodes WHERE NOT dead)"
    ):
        raise in_use()


def in_use() -> StorageError:
    """The error of who may not take over."""
    return RecordInUse("a server uses this database: stop it first. If it was killed, start and stop it, or take over")


async def read_version(connection: asyncpg.Connection) -> int:
    """The version of the schema, 0 if there is none.

    Raises :class:`StorageCorrupt` if it belongs to another application.
    """
    if await connection.fetchval("SELECT to_regclass('collab.record') IS NOT NULL"):
        columns = await connection.fetchval(
            "SELECT count(*) FROM pg_attribute WHERE attrelid = 'collab.record'::regclass"
            " AND attname IN ('version', 'epoch', 'base')"
        )
        if columns == 3:
            return int(await connection.fetchval("SELECT version FROM collab.record"))
    elif not await connection.fetchval(
        "SELECT EXISTS (SELECT 1 FROM pg_class WHERE relnamespace = to_regnamespace('collab'))"
    ):
        return 0
    raise StorageCorrupt("the schema collab of the database belongs to another application; it was not touched")


async def enter(connection: asyncpg.Connection, opens: str, name: str, version: str, url: str) -> int:
    """Make a node, and return its number. Raises :class:`StorageError` if it wants to be alone and is not."""
    nid: int | None = await connection.fetchval("SELECT collab.enter_1($1, $2, $3, $4)", opens, name, version, url)
    if nid is None:
        raise in_use()
    return nid


async def enter_alone(connection: asyncpg.Connection, *, takes_over: bool, seconds: float) -> None:
    """Until its transaction ends, keep everybody else from writing; if it commits, no node is left.

    Raises :class:`StorageError` if a node lives and is not to be replaced, or if another process does the same for
    longer than ``seconds``.
    """
    deadline = monotonic() + seconds
    while not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1, $2)", _LOCK, _ENTERING):
        if monotonic() > deadline:
            raise StorageError("another process holds this database, for example another copy")
        await asyncio.sleep(0.05)
    if not takes_over:
        await check_free(connection)
    await connection.execute("SELECT collab.durable_1()")
    await connection.execute("SELECT collab.end_nodes_1()")
