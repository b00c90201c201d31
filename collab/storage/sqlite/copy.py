"""Both ends of a copy in SQLite: everything of a record is read, or written into a new file."""

from __future__ import annotations

import asyncio
import sqlite3
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from collab.names import RoomKey
from collab.storage.codec import event_from, keys_of, seed
from collab.storage.copying import (
    BATCH_BYTES,
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
)
from collab.storage.sqlite.archive import read_moved
from collab.storage.sqlite.documents import read_snapshot_seq
from collab.storage.sqlite.files import (
    FILE_NAME,
    check_there,
    connect,
    connect_to_read,
    delete_files,
    files_of,
    keep_private,
    sync,
    take_folder,
    translate,
    unfinished,
)
from collab.storage.sqlite.moving import list_unfinished, pack_rows
from collab.storage.sqlite.parts import read_parts
from collab.storage.sqlite.positions import NEWEST, read_newest_at, read_positions
from collab.storage.sqlite.schema import check, prepare

T = TypeVar("T")

_LOCK_SECONDS = 1.0
_CACHE_KIB = 65536  # of indexes that are filled in another order than their own


# reading


@asynccontextmanager
async def sqlite_source(data: Path) -> AsyncIterator[SqliteSource]:
    """The record in a folder, which no other process can use inside the block.

    Raises :class:`StorageError` if there is none or another process uses it, and
    :class:`collab.storage.base.StorageCorrupt` if its schema is not the newest.
    """
    path = data / FILE_NAME
    check_there(path)
    with ThreadPoolExecutor(1, "collab-read") as thread:
        lock = await _run(thread, partial(take_folder, data, _LOCK_SECONDS))
        connection = connect(path, 5.0)
        try:
            await _run(thread, partial(check, connection))
            yield SqliteSource(connection, thread)
        finally:
            await _run(thread, connection.close)
            lock.close()


@asynccontextmanager
async def sqlite_file_source(path: Path) -> AsyncIterator[SqliteSource]:
    """The record in a file that no server uses, for example a backup. Raises as :func:`sqlite_source`."""
    check_there(path)
    with ThreadPoolExecutor(1, "collab-read") as thread:
        connection = await _run(thread, partial(connect_to_read, path))
        try:
            await _run(thread, partial(check, connection))
            yield SqliteSource(connection, thread)
        finally:
            await _run(thread, connection.close)


class SqliteSource:
    """A :class:`collab.storage.copying.RecordSource`. ``connection`` is used in ``thread``."""

    def __init__(self, connection: sqlite3.Connection, thread: ThreadPoolExecutor) -> None:
        self._connection = connection
        self._thread = thread

    async def counts(self) -> CopyCounts:
        return await _run(self._thread, partial(counts_of, self._connection))

    async def batches(self) -> AsyncGenerator[Batch, None]:
        batches = read_all(self._connection)
        try:
            while (batch := await _run(self._thread, lambda: next(batches, None))) is not None:
                yield batch
        finally:
            await _run(self._thread, batches.close)

    async def name_of(self, document: int) -> RoomKey:
        return await _run(self._thread, partial(name_of, self._connection, document))


def read_all(connection: sqlite3.Connection) -> Generator[Batch, None, None]:
    """Everything in a record: see :meth:`collab.storage.copying.RecordSource.batches`."""
    positions = read_positions(connection)
    yield Batch([CopiedHead(positions.epoch, positions.base, read_newest_at(connection))], 0)
    for query, make in _TABLES.items():
        yield from _read(connection, query, make)
    for documents in _read(connection, _DOCUMENTS, CopiedDocument):
        first, last = (int(row[0]) for row in (documents.rows[0], documents.rows[-1]))
        for query, make in _content(connection).items():
            yield from _read(connection, query, make, first, last)
        yield from _read_half_moved(connection, first, last)
        yield documents


def _read_half_moved(connection: sqlite3.Connection, first: int, last: int) -> Iterator[Batch]:
    """Log rows that are still to be moved, as the history that they become."""
    for rid, key in list_unfinished(connection):
        moved, seq = read_moved(connection, rid), read_snapshot_seq(connection, rid)
        while first <= rid <= last and moved < seq:
            packed = pack_rows(connection, key, rid, moved, seq)
            pieces = [
                CopiedPiece(rid, one.from_seq, one.to_seq, one.from_at, one.to_at, one.content, intact=True)
                for one in packed.pieces
            ]
            yield Batch(pieces, sum(len(piece.content) for piece in pieces))
            if packed.damaged:
                asides = [CopiedAside(*key, one.seq, one.update, one.reason, one.at) for one in packed.damaged]
                yield Batch(asides, sum(len(aside.content) for aside in asides))
            moved = packed.to


def _read(connection: sqlite3.Connection, query: str, make: Callable[..., Copied], *values: Any) -> Iterator[Batch]:
    rows: list[Copied] = []
    size = 0
    for columns in connection.execute(query, values):
        row = make(*columns)
        own = sum(len(column) for column in row if isinstance(column, str | bytes))
        if rows and (len(rows) == BATCH_ROWS or size + own > BATCH_BYTES):
            yield Batch(rows, size)
            rows, size = [], 0
        rows.append(row)
        size += own
    if rows:
        yield Batch(rows, size)


def _entity(number: int, project: str, collection: str, name: str, version: int, deleted: int, *rest: Any) -> Copied:
    return CopiedEntity(number, project, collection, name, version, bool(deleted), *rest)


def _update(rid: int, seq: int, content: object, user_id: str | None, at: float, crc: int) -> Copied:
    stored, intact = _verified(content, seed(rid, seq), crc)
    return CopiedUpdate(rid, seq, stored, user_id, at, intact)


def _snapshot(
    connection: sqlite3.Connection,
    rid: int,
    seq: int,
    content: object,
    gate: object,
    crc: int,
    bundle: int | None,
    gate_bundle: int | None,
) -> Copied:
    content, gate = read_parts(connection, bundle, content), read_parts(connection, gate_bundle, gate)
    state, index = _bytes_of(content), _bytes_of(gate)
    _, intact = _verified(gate, zlib.crc32(state, seed(rid, seq)), crc)
    return CopiedSnapshot(rid, seq, state, index, intact and type(content) is bytes)


def _piece(rid: int, from_seq: int, to_seq: int, from_at: float, to_at: float, content: object, crc: int) -> Copied:
    stored, intact = _verified(content, seed(rid, to_seq), crc)
    return CopiedPiece(rid, from_seq, to_seq, from_at, to_at, stored, intact)


def _base(connection: sqlite3.Connection, rid: int, seq: int, content: object, crc: int, bundle: int | None) -> Copied:
    stored, intact = _verified(read_parts(connection, bundle, content), seed(rid, seq), crc)
    return CopiedBase(rid, seq, stored, intact)


def _verified(content: object, start: int, crc: int) -> tuple[bytes, bool]:
    stored = _bytes_of(content)
    return stored, type(content) is bytes and zlib.crc32(stored, start) == crc


def _bytes_of(content: object) -> bytes:
    return content if type(content) is bytes else str(content).encode()


def _dead_letter(webhook: str, project: str, event: str, reason: str, at: float) -> Copied:
    told = event_from(event)
    return CopiedDeadLetter(webhook, project, told.collection, told.id, event, reason, at)


def counts_of(connection: sqlite3.Connection) -> CopyCounts:
    """See :meth:`collab.storage.copying.RecordSource.counts`."""
    return CopyCounts(*connection.execute(_COUNTS).fetchone())


def name_of(connection: sqlite3.Connection, document: int) -> RoomKey:
    """See :meth:`collab.storage.copying.RecordSource.name_of`."""
    return RoomKey(*connection.execute(_NAME, (document,)).fetchone())


_NOT_ERASED = "{0} NOT IN (SELECT {0} FROM erasing WHERE {0} IS NOT NULL)"
_COUNTS = (
    "SELECT (SELECT count(*) FROM documents), (SELECT count(*) FROM entities),"  # noqa: S608
    f" (SELECT count(*) FROM events WHERE {_NOT_ERASED.format('eid')})"
)
_NAME = "SELECT project, collection, id FROM documents WHERE rid = ?"
_DOCUMENTS = "SELECT rid, project, collection, id, lineage, created_at FROM documents ORDER BY rid"
_TABLES: Mapping[str, Callable[..., Copied]] = {
    f"SELECT p.project, p.oldest, {NEWEST} FROM projects AS p": CopiedProject,  # noqa: S608 - an expression
    "SELECT eid, project, collection, id, version, deleted, data, heads, content_seq, created_at, updated_at"
    " FROM entities ORDER BY eid": _entity,
    "SELECT project, position, eid, version, type, seq, user_id, at, data, changes, conflicts"  # noqa: S608
    f" FROM events WHERE {_NOT_ERASED.format('eid')} ORDER BY project, position": CopiedEvent,
    f"SELECT project, caller, request, CASE WHEN {_NOT_ERASED.format('eid')} THEN digest ELSE x'' END,"  # noqa: S608
    f" CASE WHEN {_NOT_ERASED.format('eid')} THEN eid ELSE 0 END, version, at FROM requests ORDER BY number": (
        CopiedRequest
    ),
    "SELECT project, collection, version, content FROM schemas": CopiedSchema,
    "SELECT project, kind, name, issued_before, kept_until FROM revocations": CopiedRevocation,
    "SELECT name, project, position FROM webhooks": CopiedWebhook,
    "SELECT webhook, project, event, reason, at FROM dead_letters AS d WHERE NOT EXISTS (SELECT 1 FROM erasing AS e"
    " WHERE e.project = d.project AND e.collection = json_extract(event, '$.collection')"
    " AND e.id = json_extract(event, '$.id')) ORDER BY number": _dead_letter,
    "SELECT project, collection, id, seq, content, reason, at FROM set_aside ORDER BY number": CopiedAside,
    "SELECT rid FROM uncovered ORDER BY number": CopiedUncovered,
}


def _content(connection: sqlite3.Connection) -> Mapping[str, Callable[..., Copied]]:
    """The content of the documents with numbers between two."""
    these = f"rid BETWEEN ? AND ? AND {_NOT_ERASED.format('rid')}"
    behind = "seq > coalesce((SELECT s.seq FROM snapshots AS s WHERE s.rid = log.rid), 0)"
    return {
        f"SELECT rid, seq, content, user_id, at, crc FROM log WHERE {these} AND {behind} ORDER BY rid, seq": _update,  # noqa: S608
        f"SELECT rid, seq, content, gate, crc, bundle, gate_bundle FROM snapshots WHERE {these} ORDER BY rid": partial(  # noqa: S608
            _snapshot, connection
        ),
        f"SELECT rid, from_seq, to_seq, from_at, to_at, content, crc FROM archive WHERE {these} ORDER BY rid, to_seq": (  # noqa: S608
            _piece
        ),
        f"SELECT rid, seq, content, crc, bundle FROM bases WHERE {these} ORDER BY rid, seq": partial(_base, connection),  # noqa: S608
    }


# writing


@asynccontextmanager
async def sqlite_target(data: Path) -> AsyncIterator[SqliteTarget]:
    """A new record in a folder, which no other process can use inside the block.

    It is written to a file of another name, which is renamed when the block ends without an error: before that, the
    folder has no record. Raises :class:`TargetNotEmpty` if it has one already, and :class:`StorageError` if it cannot
    be used.
    """
    _check_empty(data)
    with ThreadPoolExecutor(1, "collab-write") as thread:
        lock = await _run(thread, partial(take_folder, data, _LOCK_SECONDS))
        try:
            _check_empty(data)  # another process may have used the folder just before
            async with _made(SqliteTarget(data / FILE_NAME, thread)) as target:
                yield target
        finally:
            lock.close()


@asynccontextmanager
async def sqlite_file_target(path: Path) -> AsyncIterator[SqliteTarget]:
    """A new record in a file of its own, which is no server's. It replaces what is there when the block ends."""
    with ThreadPoolExecutor(1, "collab-write") as thread:
        async with _made(SqliteTarget(path, thread)) as target:
            yield target


class SqliteTarget:
    """A :class:`collab.storage.copying.RecordTarget` in the file ``path``. Its connection is used in ``thread``."""

    def __init__(self, path: Path, thread: ThreadPoolExecutor) -> None:
        self.thread = thread
        self._final = path
        self._path = unfinished(path)
        self._connection: sqlite3.Connection | None = None

    def open(self) -> None:
        """Create the file, instead of what an interrupted copy has left."""
        self.discard()
        keep_private(self._path, create=True)
        self._connection = connection = connect(self._path, 5.0)
        prepare(connection)
        # an unfinished file is thrown away, so nothing protects it; it is synced once, at the end
        connection.execute("PRAGMA journal_mode = OFF").fetchall()
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        connection.execute("BEGIN IMMEDIATE")

    async def write(self, rows: Sequence[Copied]) -> None:
        await _run(self.thread, partial(self._write, rows))

    def finish(self) -> None:
        """Make the file the record, durably."""
        assert self._connection is not None
        self._connection.execute("COMMIT")
        self._connection.close()
        self._connection = None
        sync(self._path)
        self._path.rename(self._final)
        sync(self._path.parent)

    def discard(self) -> None:
        """Delete what is not finished."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        delete_files(self._path)

    def _write(self, rows: Sequence[Copied]) -> None:
        assert self._connection is not None
        if isinstance(rows[0], CopiedHead):
            head = rows[0]
            values = [("epoch", head.epoch), ("base", head.base), ("newest_at", head.newest_at)]
            self._connection.executemany("INSERT OR REPLACE INTO record VALUES (?, ?)", values)
            return
        write_rows(self._connection, rows)


def write_rows(connection: sqlite3.Connection, rows: Sequence[Copied]) -> None:
    """Insert rows of one kind, which is not that of the head."""
    into, columns_of = _INTO[type(rows[0])]
    places = into.count(",") + 1
    statement = f"INSERT INTO {into} VALUES ({', '.join('?' * places)})"  # noqa: S608 - names of columns
    connection.executemany(statement, map(columns_of, rows))


@asynccontextmanager
async def _made(target: SqliteTarget) -> AsyncIterator[SqliteTarget]:
    try:
        await _run(target.thread, target.open)
        yield target
        await _run(target.thread, target.finish)
    finally:
        await _run(target.thread, target.discard)


def _check_empty(data: Path) -> None:
    for path in files_of(data / FILE_NAME):
        if path.exists():
            raise TargetNotEmpty(f"the target is not empty: there is {path}")


def _entity_columns(row: CopiedEntity) -> Sequence[Any]:
    *state, heads, content_seq, created_at, updated_at = row
    return *state, keys_of(data_of(row)), heads, content_seq, created_at, updated_at


def _update_columns(row: CopiedUpdate) -> Sequence[Any]:
    return (*row[:-1], _crc(row.content, seed(row.document, row.seq), row.intact))


def _snapshot_columns(row: CopiedSnapshot) -> Sequence[Any]:
    start = zlib.crc32(row.content, seed(row.document, row.seq))
    return (*row[:-1], _crc(row.gate, start, row.intact))


def _piece_columns(row: CopiedPiece) -> Sequence[Any]:
    return (*row[:-1], _crc(row.content, seed(row.document, row.to_seq), row.intact))


def _base_columns(row: CopiedBase) -> Sequence[Any]:
    return (*row[:-1], _crc(row.content, seed(row.document, row.seq), row.intact))


def _crc(content: bytes, start: int, intact: bool) -> int:
    """The checksum of bytes, or another one."""
    return zlib.crc32(content, start) ^ (not intact)


def _dead_letter_columns(row: CopiedDeadLetter) -> Sequence[Any]:
    return row.webhook, row.project, row.event, row.reason, row.at


_INTO: Mapping[type[Copied], tuple[str, Callable[[Any], Sequence[Any]]]] = {
    CopiedProject: ("projects (project, oldest, newest)", tuple),
    CopiedEntity: (
        "entities (eid, project, collection, id, version, deleted, data, keys, heads, content_seq, created_at,"
        " updated_at)",
        _entity_columns,
    ),
    CopiedEvent: (
        "events (project, position, eid, version, type, seq, user_id, at, data, changes, conflicts)",
        tuple,
    ),
    CopiedRequest: ("requests (project, caller, request, digest, eid, version, at)", tuple),
    CopiedDocument: ("documents (rid, project, collection, id, lineage, created_at)", tuple),
    CopiedUpdate: ("log (rid, seq, content, user_id, at, crc)", _update_columns),
    CopiedSnapshot: ("snapshots (rid, seq, content, gate, crc)", _snapshot_columns),
    CopiedPiece: ("archive (rid, from_seq, to_seq, from_at, to_at, content, crc)", _piece_columns),
    CopiedBase: ("bases (rid, seq, content, crc)", _base_columns),
    CopiedAside: ("set_aside (project, collection, id, seq, content, reason, at)", tuple),
    CopiedUncovered: ("uncovered (rid)", tuple),
    CopiedSchema: ("schemas (project, collection, version, content)", tuple),
    CopiedRevocation: ("revocations (project, kind, name, issued_before, kept_until)", tuple),
    CopiedWebhook: ("webhooks (name, project, position)", tuple),
    CopiedDeadLetter: ("dead_letters (webhook, project, event, reason, at)", _dead_letter_columns),
}


async def _run(thread: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(thread, translate, work)
