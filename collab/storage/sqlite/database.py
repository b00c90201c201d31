"""One SQLite file and its threads: one that writes, one that copies the WAL, two that load, some that query.

WAL and ``synchronous=FULL``: a finished transaction is on the disk. Loads have connections of their own: they wait
for no commits, and for no queries, which have others. What is small waits for no large document, which may take
100 ms. Cancelling the caller of a query ends the query.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from threading import Event
from time import thread_time
from typing import TypeVar

from collab.access.price import METER
from collab.errors import CollabError
from collab.storage.base import StorageError
from collab.storage.sqlite.checkpoints import WAL_BYTES, Checkpoints, empty
from collab.storage.sqlite.files import FILE_NAME, check_there, connect, keep_private, take_folder, translate
from collab.storage.sqlite.loads import Loads
from collab.storage.sqlite.schema import STEPS, prepare, read_version
from collab.storage.sqlite.workers import Workers
from collab.storage.versions import check_found

log = logging.getLogger(__name__)

T = TypeVar("T")

_WAL_LEFT_BYTES = 64 * 1024  # maximum size of the WAL after a log was cut
_SCRUBS = 200  # attempts to empty the WAL
_SLICE_PAGES = 128  # returned per transaction, so that commits go in between
_FINDERS = 4  # threads for queries: those of concurrent callers, and one for the server's own
_STEPS = 20_000  # SQLite VM instructions between two checks for cancellation: less than a millisecond
_NOT_STARTED = "Collab was not started: pass its lifespan to the application that mounts it (lifespan=collab.lifespan)"


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
        self._loaders: list[sqlite3.Connection] = []  # for what is small, and for what is large
        self._finders: list[sqlite3.Connection] = []  # those that are free
        self._checkpoints = Checkpoints(self.path)
        self._write_thread = Workers("collab-write")
        self._checkpoint_thread = Workers("collab-checkpoint")
        self._load_threads = Workers("collab-load"), Workers("collab-load-large")
        self._loads, self._large_loads = (
            Loads(partial(self._loader, number), partial(self._run, thread))
            for number, thread in enumerate(self._load_threads)
        )
        self._query_threads = Workers("collab-query", _FINDERS, _yield_to_others)
        self._is_due = False  # a checkpoint
        self._trimming: asyncio.Task[None] | None = None
        self._copying: asyncio.Task[None] | None = None
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
        while (task := self._trimming or self._copying) is not None:
            await task
        if self._closed:
            return
        await self._run(self._checkpoint_thread, self._checkpoints.close)
        for thread, loader in zip(self._load_threads, self._loaders, strict=False):  # none if it could not be opened
            await self._run(thread, loader.close)
        self._loaders.clear()
        await asyncio.to_thread(self._query_threads.stop)
        while self._finders:
            self._finders.pop().close()
        await self._run(self._write_thread, self._close_writer)
        self._closed = True
        for thread in (*self._load_threads, self._checkpoint_thread, self._write_thread):
            thread.stop()

    async def change(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run one transaction in the writing thread; durable on return."""

        def transaction() -> T:
            connection = _open_one(self.writer)
            connection.execute("BEGIN IMMEDIATE")
            try:
                done = work(connection)
                connection.execute("COMMIT")
            except BaseException:
                self._rolled_back()
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            return done

        return await self._write(transaction)

    async def load(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run a quick read, for example while somebody waits for a room."""
        return await self._loads.load(work)

    async def load_large(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run a read that is not quick, for which somebody waits."""
        return await self._large_loads.load(work)

    async def query(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run a read that may take a while. Cancelling the caller cancels the query."""
        unwanted = Event()
        try:
            return await self._measured(lambda: self._find(work, unwanted))
        except asyncio.CancelledError:
            unwanted.set()
            raise

    async def scrub(self) -> None:
        """Copy the WAL into the database and empty it, so that it no longer holds deleted rows."""
        for _ in range(_SCRUBS):
            if await self._empty_wal():
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

    async def _write(self, work: Callable[[], T]) -> T:
        """Do work that commits, and see to the WAL."""

        def watched() -> T:
            done = work()
            self._is_due = self._checkpoints.is_due()
            return done

        done = await self._run(self._write_thread, watched)
        if self._is_due and self._copying is None:
            self._copying = asyncio.create_task(self._copy_wal())
        return done

    async def _copy_wal(self) -> None:
        try:
            await self._run(self._checkpoint_thread, self._checkpoints.copy)
            if self._checkpoints.is_too_large():  # its readers leave no moment to begin anew
                await self._run(self._write_thread, lambda: empty(_open_one(self.writer)))
        except CollabError as error:
            log.warning("could not copy the WAL into the database: %s", error)
        finally:
            self._copying = None

    async def _empty_wal(self) -> bool:
        """Copy the WAL while commits go on, then the rest, and make it empty. Returns whether it is."""
        await self._run(self._checkpoint_thread, self._checkpoints.copy)
        return await self._run(self._write_thread, lambda: empty(_open_one(self.writer)))

    async def _run(self, threads: Workers, work: Callable[[], T]) -> T:
        if self._closed:
            raise StorageError("the storage is closed")
        return await threads.run(partial(translate, work))

    async def _measured(self, work: Callable[[], T]) -> T:
        """Query and charge the CPU time to the meter of the current task, even if the caller is cancelled."""
        meter = METER.get()
        if meter is None:
            return await self._run(self._query_threads, work)
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
            return await self._run(self._query_threads, measured)
        except asyncio.CancelledError:
            abandoned = True
            raise
        finally:
            if not abandoned:
                meter.add(spent)

    def _open(self) -> None:
        self._lock = take_folder(self._data, self._lock_seconds)
        keep_private(self.path, create=True)
        # another process that briefly locks the database (a backup) must not block this thread: fail and retry
        self.writer = connect(self.path, 0.05)
        prepare(self.writer)
        self.writer.execute("PRAGMA synchronous = FULL")
        self.writer.execute("PRAGMA secure_delete = ON")  # overwrite deleted data
        self.writer.execute("PRAGMA wal_autocheckpoint = 0")
        self.writer.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
        self._checkpoints.open()
        self._loaders = [connect(self.path, 5.0) for _ in self._load_threads]
        self._finders = [connect(self.path, 5.0) for _ in range(_FINDERS)]
        for reader in (*self._loaders, *self._finders):
            reader.execute("PRAGMA query_only = ON")

    def _loader(self, number: int) -> sqlite3.Connection:
        if not self._loaders:
            raise StorageError(_NOT_STARTED)
        return self._loaders[number]

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

    async def _vacuum(self) -> None:
        try:
            while await self._write(self._vacuum_slice):
                pass  # one slice at a time, so that commits go in between
            if self._checkpoints.size() > _WAL_LEFT_BYTES:
                await self._empty_wal()
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


def read_sqlite_version(data: Path) -> tuple[int, int]:
    """The version of the schema in a folder, and the newest one: see :func:`collab.storage.versions.check_found`."""
    path = data / FILE_NAME
    check_there(path)

    def read() -> int:
        with closing(connect(path, 5.0)) as connection:
            return read_version(connection)

    version = translate(read)
    check_found(version, len(STEPS))
    return version, len(STEPS)


def _open_one(connection: sqlite3.Connection | None) -> sqlite3.Connection:
    if connection is None:
        raise StorageError(_NOT_STARTED)
    return connection


def _yield_to_others() -> None:
    """Lower the priority of query threads: on Linux each thread has its own, and the serving one goes first."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, 0, 5)
