"""One SQLite file and its threads: one that writes, one that loads, one that queries.

WAL and ``synchronous=FULL``: a transaction is on the disk when it is done. Loads have a connection of their own and
never wait for commits, nor for queries, which have another.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from collab.errors import CollabError, DocumentDamaged
from collab.storage.base import StorageCorrupt, StorageError
from collab.storage.schema import prepare

log = logging.getLogger(__name__)

T = TypeVar("T")

FILE_NAME = "collab.db"
LOCK_NAME = "lock"
_WAL_BYTES = 4 * 1024 * 1024  # what the WAL may grow to before it is copied into the database
_WAL_LEFT_BYTES = 64 * 1024  # what may stay of the WAL after a log was cut
_SLICE_PAGES = 512  # given back at once, before the next commit has its turn
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class Database:
    """The database in the folder ``data``, for one process at a time.

    ``lock_seconds``: how long to wait at start for another process to let go of the folder. ``rolled_back`` is called
    in the writing thread after a transaction that failed.
    """

    def __init__(self, data: Path, *, lock_seconds: float, rolled_back: Callable[[], None]) -> None:
        self.path = data / FILE_NAME
        self.writer: sqlite3.Connection | None = None
        self._data = data
        self._lock_seconds = lock_seconds
        self._rolled_back = rolled_back
        self._lock: sqlite3.Connection | None = None
        self._loader: sqlite3.Connection | None = None
        self._finder: sqlite3.Connection | None = None
        self._write_thread = ThreadPoolExecutor(1, "collab-write")
        self._load_thread = ThreadPoolExecutor(1, "collab-load")
        self._query_thread = ThreadPoolExecutor(1, "collab-query")
        self._page_size = 4096
        self._trimming: asyncio.Task[None] | None = None
        self._closed = False

    async def open(self) -> None:
        """Create or migrate the database.

        Raises :class:`StorageCorrupt` if it is of a newer version, of another application, or damaged, and
        :class:`StorageError` if another process uses the folder or the disk refuses.
        """
        try:
            await self._run(self._write_thread, self._open)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Finish what was asked for, and let go of the files."""
        if self._trimming is not None:
            await self._trimming
        if self._closed:
            return
        await self._run(self._load_thread, self._close_loader)
        await self._run(self._query_thread, self._close_finder)
        await self._run(self._write_thread, self._close_writer)
        self._closed = True
        for thread in (self._load_thread, self._query_thread, self._write_thread):
            thread.shutdown()

    async def change(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """One transaction in the writing thread; durable on return."""

        def transaction() -> T:
            with self._transaction() as connection:
                return work(connection)

        return await self._run(self._write_thread, transaction)

    async def load(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Read what must be quick: somebody waits for a room."""
        return await self._run(self._load_thread, lambda: work(_open_one(self._loader)))

    async def query(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Read what may take a while."""
        return await self._run(self._query_thread, lambda: work(_open_one(self._finder)))

    @property
    def trimming(self) -> bool:
        """Whether disk space is being given back."""
        return self._trimming is not None

    def give_space_back(self) -> None:
        """Give the disk what was deleted, in the background."""
        if self._trimming is None:
            self._trimming = asyncio.create_task(self._vacuum())

    async def _run(self, thread: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        if self._closed:
            raise StorageError("the storage is closed")
        return await asyncio.get_running_loop().run_in_executor(thread, _translate, work)

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
        self.writer = _connect(self.path, 0.05)
        prepare(self.writer)
        self._page_size = int(self.writer.execute("PRAGMA page_size").fetchone()[0])
        self.writer.execute("PRAGMA synchronous = FULL")
        self.writer.execute(f"PRAGMA wal_autocheckpoint = {_WAL_BYTES // self._page_size}")
        self.writer.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
        self._loader, self._finder = (_connect(self.path, 5.0) for _ in range(2))
        for reader in (self._loader, self._finder):
            reader.execute("PRAGMA query_only = ON")

    def _close_loader(self) -> None:
        if self._loader is not None:
            self._loader.close()
            self._loader = None

    def _close_finder(self) -> None:
        if self._finder is not None:
            self._finder.close()
            self._finder = None

    def _close_writer(self) -> None:
        for connection in (self.writer, self._lock):
            if connection is not None:
                connection.close()
        self.writer = self._lock = None

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = _open_one(self.writer)
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            self._rolled_back()
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    async def _vacuum(self) -> None:
        try:
            while await self._run(self._write_thread, self._vacuum_slice):
                pass  # one slice at a time: commits go in between
            await self._run(self._write_thread, self._truncate_wal)
        except CollabError as error:
            log.warning("could not give disk space back: %s", error)
        finally:
            self._trimming = None

    def _vacuum_slice(self) -> bool:
        connection = self.writer
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
        if self.writer is not None and wal.stat().st_size > _WAL_LEFT_BYTES:
            self.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _open_one(connection: sqlite3.Connection | None) -> sqlite3.Connection:
    if connection is None:
        raise StorageError("the storage is not open")
    return connection


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
    except (msgspec.DecodeError, zlib.error) as error:
        raise DocumentDamaged("what is stored is damaged and was not touched") from error
