"""The record in one SQLite file: WAL, ``synchronous=FULL``, one thread that writes and one that reads.

Nothing is acknowledged before SQLite has synced it. Loads run on their own connection and never wait for
commits. Every log row and snapshot carries a CRC-32, verified whenever it is read.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from secrets import token_hex
from time import time
from typing import TypeVar

from collab.errors import CollabError, DocumentDamaged
from collab.names import RoomKey
from collab.storage.base import (
    Append,
    LogRow,
    Record,
    SetAside,
    Snapshot,
    StorageCorrupt,
    StorageError,
)
from collab.storage.schema import prepare

log = logging.getLogger(__name__)

T = TypeVar("T")
_Row = tuple[int, int, bytes, str | None, float, int]

FILE_NAME = "collab.db"
LOCK_NAME = "lock"
_WAL_BYTES = 4 * 1024 * 1024  # what the WAL may grow to before it is copied into the database
_WAL_LEFT_BYTES = 64 * 1024  # what may stay of the WAL after a log was cut
_SLICE_PAGES = 512  # given back at once, before the next commit has its turn
_TAILS = 20_000  # documents whose next seq is kept in memory
_COMPRESSION = 4  # of zlib: 20 ms a megabyte; 9 takes seven times as long for 2 % less
_STATEMENT_ROWS = (256, 64, 16, 4, 1)  # few sizes, so that each is prepared once
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


@dataclass(slots=True)
class _Tail:
    """Where a document's log ends."""

    rid: int
    seq: int


class SqliteStorage:
    """A :class:`collab.storage.base.Storage` in the folder ``data``, for one process at a time.

    ``lock_seconds``: how long to wait at start for another process to let go of the folder.
    """

    def __init__(self, data: Path, *, lock_seconds: float = 5.0) -> None:
        self.path = data / FILE_NAME
        self._data = data
        self._lock_seconds = lock_seconds
        self._lock: sqlite3.Connection | None = None
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._write_thread = ThreadPoolExecutor(1, "collab-write")
        self._read_thread = ThreadPoolExecutor(1, "collab-read")
        self._tails: dict[RoomKey, _Tail] = {}
        self._page_size = 4096
        self._trimming: asyncio.Task[None] | None = None
        self._closed = False

    async def open(self) -> None:
        """Create or migrate the database.

        Raises :class:`StorageCorrupt` if it is of a newer version, of another application, or damaged, and
        :class:`StorageError` if another process uses the folder or the disk refuses.
        """
        try:
            await self._write(self._open)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Finish what was asked for, and let go of the files."""
        if self._trimming is not None:
            await self._trimming
        if self._closed:
            return
        await self._run(self._read_thread, self._close_reader)
        await self._run(self._write_thread, self._close_writer)
        self._closed = True
        self._read_thread.shutdown()
        self._write_thread.shutdown()

    async def load(self, key: RoomKey) -> Record | None:
        """Read a document; ``None`` only if nothing was ever written under its name.

        Raises :class:`DocumentDamaged` if its snapshot does not match its checksum: the rows behind it were
        cut, so there is nothing else to open it from.
        """
        record, damaged = await self._read(lambda connection: _load(connection, key))
        if damaged:
            for row in damaged:
                log.error("row %d of %s does not match its checksum and is set aside", row.seq, key)
            await self._write(lambda: self._set_aside(damaged))
        return record

    async def commit(self, batch: Sequence[Append]) -> Sequence[int]:
        """Append to the logs of any number of documents in one transaction; durable on return."""
        return await self._write(lambda: self._commit(batch))

    async def create(self, append: Append) -> bool:
        """Commit ``append`` only if its document does not exist yet. Returns whether it did so."""
        return await self._write(lambda: self._create(append))

    async def replace_snapshot(self, key: RoomKey, snapshot: Snapshot) -> None:
        """Store ``snapshot`` and cut the log up to ``snapshot.seq``, in one transaction.

        Does nothing if there is a newer snapshot. Raises :class:`ValueError` if there is no such document or
        its log is not that long. The disk space is given back a little later.
        """
        content = await asyncio.to_thread(zlib.compress, snapshot.update, _COMPRESSION)
        gate = await asyncio.to_thread(zlib.compress, snapshot.index, _COMPRESSION)
        await self._write(lambda: self._replace_snapshot(key, snapshot.seq, content, gate))
        if self._trimming is None:
            self._trimming = asyncio.create_task(self._trim())

    async def set_aside(self, entry: SetAside) -> None:
        """Keep ``entry``; if it names a log row, that row leaves the log. The same entry is kept once."""
        await self._write(lambda: self._set_aside([entry]))

    async def list_set_aside(self, project: str | None = None) -> Sequence[SetAside]:
        """All that was set aside, of one project or of all, oldest first."""
        where, values = ("", ()) if project is None else ("WHERE project = ?", (project,))
        return await self._read(lambda connection: _read_set_aside(connection, where, values))

    @property
    def trimming(self) -> bool:
        """Whether disk space is being given back after a log was cut."""
        return self._trimming is not None

    # the ring: two threads

    async def _write(self, work: Callable[[], T]) -> T:
        return await self._run(self._write_thread, work)

    async def _run(self, thread: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        if self._closed:
            raise StorageError("the storage is closed")
        return await asyncio.get_running_loop().run_in_executor(thread, _translate, work)

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def with_connection() -> T:
            if self._reader is None:
                raise StorageError("the storage is not open")
            return work(self._reader)

        return await self._run(self._read_thread, with_connection)

    def _open(self) -> None:
        try:
            self._data.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot use {self._data}: {error}") from error
        # SQLite's own locks: they work everywhere and vanish with the process that held them
        self._lock = _connect(self._data / LOCK_NAME, self._lock_seconds)
        try:
            self._lock.execute("PRAGMA journal_mode = OFF")
            self._lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            raise StorageError(f"another process is using {self._data}") from error
        # whoever else holds the database for a moment (a backup) must not stall this thread: fail, retry
        self._writer = _connect(self.path, 0.05)
        prepare(self._writer)
        self._page_size = int(self._writer.execute("PRAGMA page_size").fetchone()[0])
        self._writer.execute("PRAGMA synchronous = FULL")
        self._writer.execute(f"PRAGMA wal_autocheckpoint = {_WAL_BYTES // self._page_size}")
        self._writer.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
        self._reader = _connect(self.path, 5.0)
        self._reader.execute("PRAGMA query_only = ON")

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _close_writer(self) -> None:
        for connection in (self._writer, self._lock):
            if connection is not None:
                connection.close()
        self._writer = self._lock = None

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._writer
        if connection is None:
            raise StorageError("the storage is not open")
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            self._tails.clear()
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    # in the writing thread

    def _commit(self, batch: Sequence[Append]) -> list[int]:
        with self._transaction() as connection:
            return self._append(connection, batch)

    def _create(self, append: Append) -> bool:
        with self._transaction() as connection:
            if self._find(connection, append.key) is not None:
                return False
            self._append(connection, [append])
            return True

    def _append(self, connection: sqlite3.Connection, batch: Sequence[Append]) -> list[int]:
        rows: list[_Row] = []
        tails = self._tails
        for entry in batch:
            tail = tails.get(entry.key)
            if tail is None:
                tail = self._find(connection, entry.key) or self._found(connection, entry)
                tails[entry.key] = tail
            tail.seq = seq = tail.seq + 1
            rid, update = tail.rid, entry.update
            rows.append((rid, seq, update, entry.user_id, entry.at, zlib.crc32(update, _seed(rid, seq))))
        try:
            _insert(connection, "INSERT", rows)
        except UnicodeEncodeError:
            # one user id with a lone surrogate must not hold up everybody's log
            _insert(connection, "INSERT OR REPLACE", list(map(_encodable, rows)))
        while len(tails) > _TAILS:
            del tails[next(iter(tails))]
        return [row[1] for row in rows]

    def _find(self, connection: sqlite3.Connection, key: RoomKey) -> _Tail | None:
        """Where a document's log ends: every seq given is in the log, behind the snapshot, or set aside."""
        row = connection.execute(
            "SELECT rid, max("
            " coalesce((SELECT max(seq) FROM log WHERE log.rid = documents.rid), 0),"
            " coalesce((SELECT seq FROM snapshots WHERE snapshots.rid = documents.rid), 0),"
            " coalesce((SELECT max(seq) FROM set_aside AS s WHERE s.project = documents.project"
            "  AND s.collection = documents.collection AND s.id = documents.id), 0))"
            " FROM documents WHERE project = ? AND collection = ? AND id = ?",
            key,
        ).fetchone()
        return None if row is None else _Tail(*row)

    def _found(self, connection: sqlite3.Connection, entry: Append) -> _Tail:
        """Bring a document into being."""
        cursor = connection.execute(
            "INSERT INTO documents (project, collection, id, lineage, created_at) VALUES (?, ?, ?, ?, ?)",
            (*entry.key, token_hex(8), entry.at),
        )
        assert cursor.lastrowid is not None
        return _Tail(cursor.lastrowid, 0)

    def _replace_snapshot(self, key: RoomKey, seq: int, content: bytes, gate: bytes) -> None:
        with self._transaction() as connection:
            tail = self._find(connection, key)
            if tail is None or tail.seq < seq:
                raise ValueError(f"{key} has no row {seq}")
            rid = tail.rid
            newest = connection.execute("SELECT seq FROM snapshots WHERE rid = ?", (rid,)).fetchone()
            if newest is not None and newest[0] > seq:
                return
            crc = zlib.crc32(gate, zlib.crc32(content, _seed(rid, seq)))
            connection.execute(
                "INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?, ?)",
                (rid, seq, content, gate, crc),
            )
            connection.execute("DELETE FROM log WHERE rid = ? AND seq <= ?", (rid, seq))

    def _set_aside(self, entries: Sequence[SetAside]) -> None:
        with self._transaction() as connection:
            for entry in entries:
                key = entry.key
                connection.execute(
                    "INSERT INTO set_aside (project, collection, id, seq, content, reason, at)"
                    " SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE NOT EXISTS (SELECT 1 FROM set_aside"
                    "  WHERE project = ?1 AND collection = ?2 AND id = ?3 AND seq IS ?4 AND content = ?5)",
                    (
                        *key,
                        entry.seq,
                        entry.update,
                        entry.reason.encode("utf-8", "replace").decode(),
                        entry.at,
                    ),
                )
                connection.execute(
                    "DELETE FROM log WHERE seq = ?4 AND rid ="
                    " (SELECT rid FROM documents WHERE project = ?1 AND collection = ?2 AND id = ?3)",
                    (*key, entry.seq),
                )

    # giving disk space back

    async def _trim(self) -> None:
        try:
            while await self._write(self._vacuum_slice):
                pass  # one slice at a time: commits go in between
            await self._write(self._truncate_wal)
        except CollabError as error:
            log.warning("could not give disk space back: %s", error)
        finally:
            self._trimming = None

    def _vacuum_slice(self) -> bool:
        connection = self._writer
        if connection is None:
            return False
        free = connection.execute("PRAGMA freelist_count").fetchone()[0]
        if free <= connection.execute("PRAGMA page_count").fetchone()[0] // 10:
            return False  # soon used again
        # a row without columns for each page: ``execute`` would stop after the first
        connection.executescript(f"PRAGMA incremental_vacuum({_SLICE_PAGES})")
        return True

    def _truncate_wal(self) -> None:
        wal = self.path.with_name(FILE_NAME + "-wal")
        if self._writer is not None and wal.stat().st_size > _WAL_LEFT_BYTES:
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


# in the reading thread


def _load(connection: sqlite3.Connection, key: RoomKey) -> tuple[Record | None, list[SetAside]]:
    """The record of a document, and those of its rows that are damaged and still in the log."""
    connection.execute("BEGIN")  # what follows is one moment's view
    try:
        document = connection.execute(
            "SELECT rid, lineage FROM documents WHERE project = ? AND collection = ? AND id = ?", key
        ).fetchone()
        aside = _read_set_aside(connection, "WHERE project = ? AND collection = ? AND id = ?", key)
        if document is None:
            return (Record(None, None, (), aside), []) if aside else (None, [])
        rid, lineage = document
        stored = connection.execute("SELECT seq, content, gate, crc FROM snapshots WHERE rid = ?", (rid,)).fetchone()
        rows = connection.execute(
            "SELECT seq, content, user_id, at, crc FROM log WHERE rid = ? ORDER BY seq", (rid,)
        ).fetchall()
    finally:
        connection.execute("ROLLBACK")
    snapshot = None if stored is None else _open_snapshot(key, rid, *stored)
    good: list[LogRow] = []
    damaged: list[SetAside] = []
    for seq, content, user_id, at, crc in rows:
        if type(content) is bytes and zlib.crc32(content, _seed(rid, seq)) == crc:
            good.append(LogRow(seq, content, user_id, at))
        else:
            kept = content if type(content) is bytes else str(content).encode()
            damaged.append(SetAside(key, seq, kept, "the row does not match its checksum", time()))
    return Record(lineage, snapshot, good, [*aside, *damaged]), damaged


def _open_snapshot(key: RoomKey, rid: int, seq: int, content: object, gate: object, crc: int) -> Snapshot:
    try:
        if (
            type(content) is bytes
            and type(gate) is bytes
            and zlib.crc32(gate, zlib.crc32(content, _seed(rid, seq))) == crc
        ):
            return Snapshot(seq, zlib.decompress(content), zlib.decompress(gate))
    except zlib.error:
        pass
    log.error("the snapshot of %s (document %d, up to row %d) does not match its checksum", key, rid, seq)
    raise DocumentDamaged("the stored document is damaged and was not touched")


def _read_set_aside(connection: sqlite3.Connection, where: str, values: Sequence[str]) -> list[SetAside]:
    rows = connection.execute(
        f"SELECT project, collection, id, seq, content, reason, at FROM set_aside {where} ORDER BY number",  # noqa: S608
        values,
    )
    return [
        SetAside(RoomKey(project, collection, entity_id), seq, content, reason, at)
        for project, collection, entity_id, seq, content, reason, at in rows
    ]


# both


def _seed(rid: int, seq: int) -> int:
    """Where a checksum starts: bytes that moved to another row do not match."""
    return (rid * 0x9E3779B1 ^ seq) & 0xFFFFFFFF


def _insert(connection: sqlite3.Connection, verb: str, rows: Sequence[_Row]) -> None:
    """Insert log rows, many a statement.

    Before and after each statement the thread waits for the GIL. A row at a time, a busy event loop would let a
    thousand rows take 200 ms instead of 10.
    """
    at = 0
    for size in _STATEMENT_ROWS:
        statement = f"{verb} INTO log VALUES " + ", ".join(["(?, ?, ?, ?, ?, ?)"] * size)
        while len(rows) - at >= size:
            connection.execute(statement, list(chain.from_iterable(rows[at : at + size])))
            at += size


def _encodable(row: _Row) -> _Row:
    rid, seq, update, user_id, at, crc = row
    return rid, seq, update, user_id and user_id.encode("utf-8", "replace").decode(), at, crc


def _connect(path: Path, busy_seconds: float) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
    connection.text_factory = _decode
    return connection


def _decode(text: bytes) -> str:
    return text.decode("utf-8", "replace")  # a damaged name or user id must not make a document unreadable


def _translate(work: Callable[[], T]) -> T:
    try:
        return work()
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", None)
        if code is not None and code & 0xFF in _DAMAGED:
            raise StorageCorrupt(f"the database file is damaged: {error}") from error
        raise StorageError(f"the database refused: {error}") from error
