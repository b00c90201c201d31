"""Both ends of a copy in PostgreSQL: everything of a record is read, or written into an empty one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import asyncpg

from collab.names import RoomKey
from collab.storage.copying import (
    BATCH_ROWS,
    Batch,
    Copied,
    CopiedAside,
    CopiedBase,
    CopiedDeadLetter,
    CopiedDocument,
    CopiedEntity,
    CopiedEvent,
    CopiedHead,
    CopiedPiece,
    CopiedProject,
    CopiedRequest,
    CopiedRevocation,
    CopiedSchema,
    CopiedSnapshot,
    CopiedUncovered,
    CopiedUpdate,
    CopiedWebhook,
    CopyCounts,
    TargetNotEmpty,
    data_of,
    portions,
)
from collab.storage.postgres.database import translated
from collab.storage.postgres.history import NEWEST, read_newest_at, read_positions
from collab.storage.postgres.schema import check, check_free, enter_alone, prepare
from collab.storage.postgres.values import is_intact, keys_and_texts, plain, plain_or_none, sealed

_CONNECT_SECONDS = 5.0
_LOCK_SECONDS = 5.0  # as long as another process may take for one transaction


# reading


class _Table(NamedTuple):
    """A table to read in the order of its unique ``key``: the columns of one, from behind ``start`` on.

    ``size`` is the size of a row in bytes; ``columns`` are the arguments of ``make``; ``bound`` ends the reading.
    """

    name: str
    key: str
    start: tuple[Any, ...]
    size: str
    columns: str
    make: Callable[..., Copied]
    bound: str = ""

    @property
    def sizes(self) -> str:
        """The query for the keys and sizes of the next rows behind a key."""
        return (
            f"SELECT {self.key}, {self.size} FROM collab.{self.name}"  # noqa: S608 - our own words, here and below
            f" WHERE ({self.key}) > ({self._places(1)}) {self.bound} ORDER BY {self.key} LIMIT {BATCH_ROWS}"
        )

    @property
    def rows(self) -> str:
        """The query for the rows behind one key up to another."""
        return (
            f"SELECT {self.columns} FROM collab.{self.name} WHERE ({self.key}) > ({self._places(1)})"  # noqa: S608
            f" AND ({self.key}) <= ({self._places(1 + len(self.start))}) ORDER BY {self.key}"
        )

    def _places(self, first: int) -> str:
        return ", ".join(f"${number}" for number in range(first, first + len(self.start)))


@asynccontextmanager
async def postgres_source(url: str, *, takes_over: bool) -> AsyncIterator[PostgresSource]:
    """The record in a database, in which no other process can write inside the block.

    Raises :class:`StorageError` if there is none, or a server uses it and this does not take over, and
    :class:`collab.storage.base.StorageCorrupt` if its schema is not the newest.
    """
    async with connected(url) as connection:
        await check(connection)
        async with alone(connection, takes_over=takes_over):
            yield PostgresSource(connection)


@asynccontextmanager
async def postgres_moment(url: str) -> AsyncIterator[PostgresSource]:
    """The record in a database as it is at one moment, while a server may go on writing.

    Raises as :func:`postgres_source`.
    """
    async with connected(url) as connection:
        await check(connection)
        await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield PostgresSource(connection)
        await connection.execute("COMMIT")


class PostgresSource:
    """A :class:`collab.storage.copying.RecordSource`, inside a transaction that sees one state of the record."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def counts(self) -> CopyCounts:
        with translated():
            return CopyCounts(
                *await self._connection.fetchrow(
                    "SELECT (SELECT count(*) FROM collab.documents), (SELECT count(*) FROM collab.entities),"
                    " (SELECT count(*) FROM collab.events)"
                )
            )

    async def batches(self) -> AsyncGenerator[Batch, None]:
        with translated():
            positions = await read_positions(self._connection)
            newest_at = await read_newest_at(self._connection)
            yield Batch([CopiedHead(positions.epoch, positions.base, newest_at)], 0)
            for table in _TABLES:
                async for batch in self._read(table, table.start):
                    yield batch
            async for documents in self._read(_DOCUMENTS, _DOCUMENTS.start):
                first, last = (int(documents.rows[at][0]) for at in (0, -1))
                for table in _CONTENT:
                    async for batch in self._read(table, (first, 0), last):
                        yield batch
                yield documents

    async def name_of(self, document: int) -> RoomKey:
        with translated():
            return RoomKey(
                *await self._connection.fetchrow(
                    "SELECT project, collection, id FROM collab.documents WHERE rid = $1", document
                )
            )

    async def _read(self, table: _Table, after: Sequence[Any], *upto: int) -> AsyncIterator[Batch]:
        """Rows in batches of bounded size: their sizes are known before they are fetched."""
        while found := await self._connection.fetch(table.sizes, *after, *upto):
            end = 0
            for count, size in portions([size for *_, size in found]):
                end += count
                *last, _ = found[end - 1]
                rows = await self._connection.fetch(table.rows, *after, *last)
                yield Batch([table.make(*row) for row in rows], size)
                after = last


def _update(rid: int, seq: int, content: bytes, user_id: str | None, at: float, crc: int) -> Copied:
    return CopiedUpdate(rid, seq, content, user_id, at, is_intact(content, rid, seq, crc))


def _snapshot(rid: int, seq: int, content: bytes, gate: bytes, crc: int, gate_crc: int) -> Copied:
    intact = is_intact(content, rid, seq, crc) and is_intact(gate, rid, seq, gate_crc)
    return CopiedSnapshot(rid, seq, content, gate, intact)


def _piece(rid: int, from_seq: int, to_seq: int, from_at: float, to_at: float, content: bytes, crc: int) -> Copied:
    return CopiedPiece(rid, from_seq, to_seq, from_at, to_at, content, is_intact(content, rid, to_seq, crc))


def _base(rid: int, seq: int, content: bytes, crc: int) -> Copied:
    return CopiedBase(rid, seq, content, is_intact(content, rid, seq, crc))


_DOCUMENTS = _Table(
    "documents", "rid", (0,), "100", "rid, project, collection, id, lineage, created_at", CopiedDocument
)
_TABLES = (
    _Table("projects AS p", "p.project", ("",), "50", f"p.project, p.oldest, {NEWEST}", CopiedProject),
    _Table(
        "entities",
        "eid",
        (0,),
        "octet_length(data) + octet_length(heads)",
        "eid, project, collection, id, version, deleted, data, heads, content_seq, created_at, updated_at",
        CopiedEntity,
    ),
    _Table(
        "events",
        "project, position",
        ("", 0),
        "octet_length(data) + octet_length(changes) + coalesce(octet_length(conflicts), 0)",
        "project, position, eid, version, type, seq, user_id, at, data, changes, conflicts",
        CopiedEvent,
    ),
    _Table(
        "requests",
        "number",
        (0,),
        "octet_length(request) + octet_length(digest)",
        "project, caller, request, digest, eid, version, at",
        CopiedRequest,
    ),
    _Table(
        "schemas",
        "project, collection",
        ("", ""),
        "octet_length(content)",
        "project, collection, version, content",
        CopiedSchema,
    ),
    _Table(
        "revocations",
        "project, kind, name",
        ("", "", ""),
        "100",
        "project, kind, name, issued_before, kept_until",
        CopiedRevocation,
    ),
    _Table("webhooks", "name, project", ("", ""), "50", "name, project, position", CopiedWebhook),
    _Table(
        "dead_letters",
        "number",
        (0,),
        "octet_length(event) + octet_length(reason)",
        "webhook, project, collection, id, event, reason, at",
        CopiedDeadLetter,
    ),
    _Table(
        "set_aside",
        "number",
        (0,),
        "octet_length(content) + octet_length(reason)",
        "project, collection, id, seq, content, reason, at",
        CopiedAside,
    ),
    _Table("uncovered", "number", (0,), "10", "rid", CopiedUncovered),
)
_UP_TO = "AND rid <= $3"
_CONTENT = (
    _Table("log", "rid, seq", (0, 0), "octet_length(content)", "rid, seq, content, user_id, at, crc", _update, _UP_TO),
    _Table(
        "snapshots",
        "rid, seq",
        (0, 0),
        "octet_length(content) + octet_length(gate)",
        "rid, seq, content, gate, crc, gate_crc",
        _snapshot,
        _UP_TO,
    ),
    _Table(
        "archive",
        "rid, to_seq",
        (0, 0),
        "octet_length(content)",
        "rid, from_seq, to_seq, from_at, to_at, content, crc",
        _piece,
        _UP_TO,
    ),
    _Table("bases", "rid, seq", (0, 0), "octet_length(content)", "rid, seq, content, crc", _base, _UP_TO),
)


# writing


@asynccontextmanager
async def postgres_target(url: str, *, takes_over: bool, empties: bool = False) -> AsyncIterator[PostgresTarget]:
    """An empty record in a database, which no other process can use inside the block; created if necessary.

    All rows are one transaction, which ends with the block. Raises :class:`TargetNotEmpty` if the record is not empty,
    unless this ``empties`` it, :class:`StorageError` if a server uses it and this does not take over, and
    :class:`collab.storage.base.StorageCorrupt` if it must not be touched.
    """
    async with connected(url) as connection:
        if not takes_over:
            await check_free(connection)
        await prepare(connection)
        async with alone(connection, takes_over=takes_over):
            if empties:
                tables = ", ".join(
                    f"collab.{table}" for table in (*_NAMES, "search_collections", "search_texts", "search_unread")
                )
                await connection.execute(f"TRUNCATE {tables} RESTART IDENTITY")
            else:
                await _check_empty(connection)
            yield PostgresTarget(connection)
            for table, column in (("documents", "rid"), ("entities", "eid")):
                await connection.execute(
                    f"SELECT setval(pg_get_serial_sequence('collab.{table}', '{column}'), max({column}))"  # noqa: S608
                    f" FROM collab.{table}"
                )
            await connection.execute(f"ANALYZE {', '.join(f'collab.{table}' for table in _NAMES)}")


class PostgresTarget:
    """A :class:`collab.storage.copying.RecordTarget`, inside a transaction."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def write(self, rows: Sequence[Copied]) -> None:
        with translated():
            if isinstance(rows[0], CopiedHead):
                await self._connection.execute(
                    "UPDATE collab.record SET epoch = $1, base = $2, newest_at = $3", *rows[0]
                )
                return
            await write_rows(self._connection, rows)


async def write_rows(connection: asyncpg.Connection, rows: Sequence[Copied]) -> None:
    """Insert rows of one kind, which is not that of the head."""
    into = _INTO[type(rows[0])]
    await connection.copy_records_to_table(
        into.table, schema_name="collab", columns=into.columns.split(), records=map(into.values_of, rows)
    )


async def _check_empty(connection: asyncpg.Connection) -> None:
    for table in _NAMES:
        if await connection.fetchval(f"SELECT EXISTS (SELECT 1 FROM collab.{table})"):  # noqa: S608 - our own names
            raise TargetNotEmpty(f"the target is not empty: its table collab.{table} has rows")


class _Into(NamedTuple):
    """Where rows are written: the names of columns in the order of ``values_of``."""

    table: str
    columns: str
    values_of: Callable[[Any], Sequence[Any]]


def _entity_values(row: CopiedEntity) -> Sequence[Any]:
    *state, heads, content_seq, created_at, updated_at = row
    return *state, *keys_and_texts(data_of(row)), heads, content_seq, created_at, updated_at


def _event_values(row: CopiedEvent) -> Sequence[Any]:
    return row._replace(user_id=plain_or_none(row.user_id))


def _request_values(row: CopiedRequest) -> Sequence[Any]:
    return row._replace(caller=plain(row.caller), name=plain(row.name))


def _update_values(row: CopiedUpdate) -> Sequence[Any]:
    crc = _crc(row.content, row.document, row.seq, row.intact)
    return row.document, row.seq, row.content, plain_or_none(row.user_id), row.at, crc


def _snapshot_values(row: CopiedSnapshot) -> Sequence[Any]:
    crcs = [_crc(content, row.document, row.seq, row.intact) for content in (row.content, row.gate)]
    return *row[:-1], *crcs


def _piece_values(row: CopiedPiece) -> Sequence[Any]:
    return *row[:-1], _crc(row.content, row.document, row.to_seq, row.intact)


def _base_values(row: CopiedBase) -> Sequence[Any]:
    return *row[:-1], _crc(row.content, row.document, row.seq, row.intact)


def _aside_values(row: CopiedAside) -> Sequence[Any]:
    return row._replace(reason=plain(row.reason))


def _dead_letter_values(row: CopiedDeadLetter) -> Sequence[Any]:
    return row._replace(reason=plain(row.reason))


def _crc(content: bytes, rid: int, seq: int, intact: bool) -> int:
    """The checksum of bytes, or another one."""
    return sealed(content, rid, seq) ^ (not intact)


_INTO: Mapping[type[Copied], _Into] = {
    CopiedProject: _Into("projects", "project oldest newest", tuple),
    CopiedEntity: _Into(
        "entities",
        "eid project collection id version deleted data keys texts heads content_seq created_at updated_at",
        _entity_values,
    ),
    CopiedEvent: _Into(
        "events", "project position eid version type seq user_id at data changes conflicts", _event_values
    ),
    CopiedRequest: _Into("requests", "project caller request digest eid version at", _request_values),
    CopiedDocument: _Into("documents", "rid project collection id lineage created_at", tuple),
    CopiedUpdate: _Into("log", "rid seq content user_id at crc", _update_values),
    CopiedSnapshot: _Into("snapshots", "rid seq content gate crc gate_crc", _snapshot_values),
    CopiedPiece: _Into("archive", "rid from_seq to_seq from_at to_at content crc", _piece_values),
    CopiedBase: _Into("bases", "rid seq content crc", _base_values),
    CopiedAside: _Into("set_aside", "project collection id seq content reason at", _aside_values),
    CopiedUncovered: _Into("uncovered", "rid", tuple),
    CopiedSchema: _Into("schemas", "project collection version content", tuple),
    CopiedRevocation: _Into("revocations", "project kind name issued_before kept_until", tuple),
    CopiedWebhook: _Into("webhooks", "name project position", tuple),
    CopiedDeadLetter: _Into("dead_letters", "webhook project collection id event reason at", _dead_letter_values),
}
_NAMES = [into.table for into in _INTO.values()]


# both


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of its own, whose errors are translated."""
    with translated():
        connection = await asyncpg.connect(url, timeout=_CONNECT_SECONDS)
        try:
            yield connection
            await connection.close(timeout=_CONNECT_SECONDS)
        finally:
            connection.terminate()  # after an error: the server rolls back, and nobody waits for it


@asynccontextmanager
async def alone(connection: asyncpg.Connection, *, takes_over: bool) -> AsyncIterator[None]:
    """A transaction that keeps others from writing; afterwards no node lives, unless it fails."""
    await connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
    await enter_alone(connection, takes_over=takes_over, seconds=_LOCK_SECONDS)
    yield
    await connection.execute("COMMIT")
