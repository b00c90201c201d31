"""Checkpoints: what commits left in the WAL is copied into the database, beside later commits and not inside one.

A second connection copies while the first one commits (``PASSIVE``): they exclude each other nowhere. When everything
is copied and nobody reads from the WAL, the next commit begins it anew. Long or ever-changing readers prevent this; so
beyond a second size the writing connection waits for them a moment, and copies what is left (``TRUNCATE``).
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final

from collab.storage.sqlite.files import FILE_NAME, connect

WAL_BYTES: Final = 4 * 1024 * 1024
"""Size of the WAL beyond which it is copied. When it begins anew, its file is cut to this size: so a larger file always
holds that much."""

_MOST_BYTES = 4 * WAL_BYTES  # beyond this the writing connection helps
_STEP_BYTES = WAL_BYTES // 4  # growth after which what could not be finished is tried again
_PASSES = 3  # commits may come while one pass copies; each pass is shorter than the one before


class Checkpoints:
    """The checkpoints of one database. :meth:`copy` is for a thread of its own, all others for the writing thread."""

    def __init__(self, path: Path) -> None:
        self._wal = str(path.with_name(FILE_NAME + "-wal"))
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._next = WAL_BYTES
        self._most = _MOST_BYTES

    def open(self) -> None:
        self._connection = connect(self._path, 0.0)
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # it knows of the WAL from now on

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def is_due(self) -> bool:
        """Whether :meth:`copy` should be called, after a commit."""
        size = self.size()
        if size <= WAL_BYTES:
            self._next, self._most = WAL_BYTES, _MOST_BYTES
        return size > self._next

    def copy(self) -> bool:
        """Copy the WAL into the database while commits go on. Returns whether everything was copied."""
        if self._connection is None:
            return True
        frames, copied = -1, 0
        try:
            for _ in range(_PASSES):
                before = copied
                _, frames, copied = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                if copied in (frames, before):  # all of it, or nothing more: somebody reads an earlier state
                    break
        finally:
            self._next = self.size() + _STEP_BYTES
        return 0 <= frames == copied

    def is_too_large(self) -> bool:
        """Whether the WAL has grown so much that commits should wait for :func:`empty`; less often if that fails."""
        size = self.size()
        if size <= self._most:
            return False
        self._most = 2 * size
        return True

    def size(self) -> int:
        """Bytes of the WAL's file."""
        try:
            return os.stat(self._wal).st_size
        except FileNotFoundError:
            return 0


def empty(connection: sqlite3.Connection) -> bool:
    """Copy the WAL and make its file empty, unless somebody reads for longer than ``connection`` waits."""
    busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy
