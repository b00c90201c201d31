"""One SQLite file and its threads: one that writes, one that loads, some that query.

WAL and ``synchronous=FULL``: a finished transaction is on the disk. Loads have their own connection, so that they never
wait for commits, nor for queries, which have others. Cancelling the caller of a query ends the query.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import sys
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from time import thread_time
from typing import TypeVar

import msgspec

from collab.access.price import METER
from collab.errors import CollabError, DocumentDamaged
from collab.storage.base import StorageCorrupt, StorageError
from collab.storage.schema import prepare

log = logging.getLogger(__name__)

T = TypeVar("T")

FILE_NAME = "collab.db"
LOCK_NAME = "lock"
_WAL_BYTES = 4 * 1024 * 1024  # size of the WAL at which it is copied into the database
_WAL_LEFT_BYTES = 64 * 1024  # maximum size of the WAL after a log was cut
_SCRUBS = 200  # attempts to empty the WAL
_SLICE_PAGES = 512  # returned per transaction, so that commits go in between
_FINDERS = 4  # threads for queries: those of concurrent callers, and one for the server's own
_STEPS = 20_000  # SQLite VM instructions between two checks for cancellation: less than a millisecond
_NOT_STARTED = "Collab was not started: pass its lifespan to the application that mounts it (lifespan=collab.lifespan)"
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class Database:
    """The database in the folder ``data``, for one process at a time.

    ``lock_seconds``: how long to wait at start for another process to release the folder. ``rolled_back`` is called in
    the writing thread after a failed transaction.
    """

    def __init__(self, data: Path, *, lock_seconds: float, rolled_back: Callable[[], None]) -> None:
        self.path = data / FILE_NAME
        self.writer: sqlite3.Connection | None = None
        self._data = data
        self._lock_seconds = lock_seconds
        self._rolled_back = rolled_back
        self._lock: sqlite3.Connection | None = None
        self._loader: sqlite3.Connection | None = None
        self._finders: list[sqlite3.Connection] = []  # those that are free
        self._write_thread = ThreadPoolExecutor(1, "collab-write")
        self._load_thread = ThreadPoolExecutor(1, "collab-load")
        self._query_threads = ThreadPoolExecutor(_FINDERS, "collab-query", _yield_to_others)
        self._page_size = 4096
        self._trimming: asyncio.Task[None] | None = None
        self._closed = False

    async def open(self) -> None:
        """Create or migrate the database.

        Raises :class:`StorageCorrupt` if it is of a newer version, of another application, or damaged, and
        :class:`StorageError` if another process uses the folder or the disk fails.
        """
        try:
            await self._run(self._write_thread, self._open)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Finish pending work and close the files."""
        if self._trimming is not None:
            await self._trimming
        if self._closed:
            return
        await self._run(self._load_thread, self._close_loader)
        await asyncio.to_thread(self._query_threads.shutdown)
        while self._finders:
            self._finders.pop().close()
        await self._run(self._write_thread, self._close_writer)
        self._closed = True
        for thread in (self._load_thread, self._write_thread):
            thread.shutdown()

    async def change(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run one transaction in the writing thread; durable on return."""

        def transaction() -> T:
            with self._transaction() as connection:
                return work(connection)

        return await self._run(self._write_thread, transaction)

    async def load(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run a quick read, for example while somebody waits for a room."""
        return await self._measured(self._load_thread, lambda: work(_open_one(self._loader)))

    async def query(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run a read that may take a while. Cancelling the caller cancels the query."""
        unwanted = Event()
        try:
            return await self._measured(self._query_threads, lambda: self._find(work, unwanted))
        except asyncio.CancelledError:
            unwanted.set()
            raise

    async def scrub(self) -> None:
        """Copy the WAL into the database and empty it, so that it no longer holds deleted rows."""
        for _ in range(_SCRUBS):
            if await self._run(self._write_thread, self._scrub):
                return
            await asyncio.sleep(0.05)  # there are readers
        raise StorageError("the database has permanent readers; deleted data is still in its WAL")

    async def rewrite(self) -> None:
        """VACUUM: rewrite the whole file."""
        await self._run(self._write_thread, lambda: _open_one(self.writer).execute("VACUUM").fetchall())
        await self.scrub()

    @property
    def trimming(self) -> bool:
        """Whether disk space is being returned."""
        return self._trimming is not None

    def give_space_back(self) -> None:
        """Return the space of deleted data to the disk, in the background."""
        if self._trimming is None:
            self._trimming = asyncio.create_task(self._vacuum())

    async def _run(self, thread: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        if self._closed:
            raise StorageError("the storage is closed")
        return await asyncio.get_running_loop().run_in_executor(thread, _translate, work)

    async def _measured(self, thread: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        """Run work and charge its CPU time to the meter of the current task, even if the caller is cancelled."""
        meter = METER.get()
        if meter is None:
            return await self._run(thread, work)
        loop = asyncio.get_running_loop()
        spent, abandoned = 0.0, False

        def measured() -> T:
            nonlocal spent
            began = thread_time()
            try:
                return work()
            finally:
                spent = thread_time() - began
                if abandoned:
                    loop.call_soon_threadsafe(meter.add, spent)

        try:
            return await self._run(thread, measured)
        except asyncio.CancelledError:
            abandoned = True
            raise
        finally:
            if not abandoned:
                meter.add(spent)

    def _open(self) -> None:
        try:
            self._data.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in (FILE_NAME, f"{FILE_NAME}-wal", f"{FILE_NAME}-shm", LOCK_NAME):
                _keep_private(self._data / name, create=name in (FILE_NAME, LOCK_NAME))
        except OSError as error:
            raise StorageError(f"cannot use {self._data}: {error}") from error
        # SQLite's own locks: they work everywhere and vanish with their process
        self._lock = _connect(self._data / LOCK_NAME, self._lock_seconds)
        try:
            self._lock.execute("PRAGMA journal_mode = OFF")
            self._lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            raise StorageError(
                f"another process is using {self._data}: one process serves one data folder (no --workers 2)"
            ) from error
        # another process that briefly locks the database (a backup) must not block this thread: fail and retry
        self.writer = _connect(self.path, 0.05)
        prepare(self.writer)
        self._page_size = int(self.writer.execute("PRAGMA page_size").fetchone()[0])
        self.writer.execute("PRAGMA synchronous = FULL")
        self.writer.execute("PRAGMA secure_delete = ON")  # overwrite deleted data
        self.writer.execute(f"PRAGMA wal_autocheckpoint = {_WAL_BYTES // self._page_size}")
        self.writer.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
        self._loader, *self._finders = (_connect(self.path, 5.0) for _ in range(1 + _FINDERS))
        for reader in (self._loader, *self._finders):
            reader.execute("PRAGMA query_only = ON")

    def _scrub(self) -> bool:
        busy, _, _ = _open_one(self.writer).execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy

    def _close_loader(self) -> None:
        if self._loader is not None:
            self._loader.close()
            self._loader = None

    def _find(self, work: Callable[[sqlite3.Connection], T], unwanted: Event) -> T:
        try:
            connection = self._finders.pop()
        except IndexError:
            raise StorageError(_NOT_STARTED) from None
        # SQLite polls this. ``interrupt`` from outside could hit the next query on this connection.
        connection.set_progress_handler(unwanted.is_set, _STEPS)
        try:
            return work(connection)
        finally:
            connection.set_progress_handler(None, 0)
            self._finders.append(connection)

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
                pass  # one slice at a time, so that commits go in between
            await self._run(self._write_thread, self._truncate_wal)
        except CollabError as error:
            log.warning("could not return disk space: %s", error)
        finally:
            self._trimming = None

    def _vacuum_slice(self) -> bool:
        connection = self.writer
        if connection is None:
            return False
        free = connection.execute("PRAGMA freelist_count").fetchone()[0]
        if free <= connection.execute("PRAGMA page_count").fetchone()[0] // 10:
            return False  # it will be used again soon
        # it returns an empty row for each page: ``execute`` would stop after the first
        connection.executescript(f"PRAGMA incremental_vacuum({_SLICE_PAGES})")
        return True

    def _truncate_wal(self) -> None:
        wal = self.path.with_name(FILE_NAME + "-wal")
        if self.writer is not None and wal.stat().st_size > _WAL_LEFT_BYTES:
            self.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _open_one(connection: sqlite3.Connection | None) -> sqlite3.Connection:
    if connection is None:
        raise StorageError(_NOT_STARTED)
    return connection


def _yield_to_others() -> None:
    """Lower the priority of query threads: on Linux each thread has its own, and the serving one goes first."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, 0, 5)


def _keep_private(path: Path, *, create: bool) -> None:
    """Restrict a file to its owner; SQLite gives the files beside the database the same permissions.

    Raises :class:`OSError` if it cannot be created or opened.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o600)
    except FileNotFoundError:
        return
    try:
        if os.fstat(descriptor).st_mode & 0o077:
            os.fchmod(descriptor, 0o600)
    except PermissionError:
        log.warning("%s belongs to another user: others may be able to read it", path)
    finally:
        os.close(descriptor)


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
        raise StorageError(f"the database failed: {error}") from error
    except (msgspec.DecodeError, zlib.error) as error:
        raise DocumentDamaged("the stored data is damaged and was not touched") from error
