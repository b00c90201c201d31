"""The files of a record in SQLite: private to their owner, in a folder that one process at a time uses."""

from __future__ import annotations

import logging
import os
import sqlite3
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from collab.errors import DocumentDamaged
from collab.storage.base import RecordInUse, StorageCorrupt, StorageError

log = logging.getLogger(__name__)

T = TypeVar("T")

FILE_NAME: Final = "collab.db"
_STATEMENTS = 256  # kept prepared: more than there are different ones
_LOCK_NAME = "lock"
_SIDES = ("-wal", "-shm", "-journal")  # what SQLite appends to the name of a database
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def files_of(database: Path) -> list[Path]:
    """A database file and those that SQLite may have beside it."""
    return [database, *(database.with_name(database.name + side) for side in _SIDES)]


def unfinished(database: Path) -> Path:
    """The file in which a database is made before it gets its name. No server opens it."""
    return database.with_name(f"{database.name}.unfinished")


def check_there(database: Path) -> None:
    """Raise :class:`StorageError` if there is no such file."""
    if not database.is_file():
        raise StorageError(f"there is no {database}")


def delete_files(database: Path) -> None:
    """Delete a database file and those beside it, as far as they exist."""
    for path in files_of(database):
        path.unlink(missing_ok=True)


def take_folder(data: Path, lock_seconds: float) -> sqlite3.Connection:
    """Lock a folder, which is created if necessary, until the connection is closed.

    Raises :class:`StorageError` if another process uses it and still does so after ``lock_seconds``.
    """
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot use {data}: {error}") from error
    for path in files_of(data / FILE_NAME):
        keep_private(path, create=False)
    keep_private(data / _LOCK_NAME, create=True)
    # SQLite's own locks: they work everywhere and vanish with their process
    lock = connect(data / _LOCK_NAME, lock_seconds)
    try:
        lock.execute("PRAGMA journal_mode = OFF")
        lock.execute("BEGIN EXCLUSIVE")
    except BaseException as error:
        lock.close()
        if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_BUSY:
            raise
        raise RecordInUse(
            f"another process is using {data}: one process serves one data folder (no --workers 2)"
        ) from error
    return lock


def keep_private(path: Path, *, create: bool) -> None:
    """Restrict a file to its owner; SQLite gives the files beside the database the same permissions.

    Raises :class:`StorageError` if it cannot be created or opened.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o600)
        try:
            if os.fstat(descriptor).st_mode & 0o077:
                os.fchmod(descriptor, 0o600)
        except PermissionError:
            log.warning("%s belongs to another user: others may be able to read it", path)
        finally:
            os.close(descriptor)
    except OSError as error:
        if create or not isinstance(error, FileNotFoundError):
            raise StorageError(f"cannot use {path.parent}: {error}") from error


def connect(path: Path, busy_seconds: float) -> sqlite3.Connection:
    """A connection in autocommit mode, for any thread. ``busy_seconds``: how long to wait for locks of others."""
    connection = sqlite3.connect(
        path, timeout=busy_seconds, isolation_level=None, check_same_thread=False, cached_statements=_STATEMENTS
    )
    connection.text_factory = _decode
    return connection


def connect_to_read(path: Path, busy_seconds: float = 5.0) -> sqlite3.Connection:
    """A connection that only reads, beside a server that writes. Raises :class:`sqlite3.Error` if there is no file.

    A file without others beside it may be in a folder in which SQLite can make none.
    """
    alone = not any(side.exists() for side in files_of(path)[1:]) and not (path.parent / _LOCK_NAME).exists()
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if alone else ''}",
        uri=True,
        timeout=busy_seconds,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.text_factory = _decode
    return connection


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _decode(text: bytes) -> str:
    return text.decode("utf-8", "replace")  # a damaged name or user id must not make a document unreadable


def translate(work: Callable[[], T]) -> T:
    """Do work, and translate errors of SQLite and of the disk."""
    try:
        return work()
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", None)
        if code is not None and code & 0xFF in _DAMAGED:
            raise StorageCorrupt(f"the database file is damaged: {error}") from error
        raise StorageError(f"the database failed: {error}") from error
    except OSError as error:
        raise StorageError(f"the disk failed: {error}") from error
    except (msgspec.DecodeError, zlib.error) as error:
        raise DocumentDamaged("the stored data is damaged and was not touched") from error
