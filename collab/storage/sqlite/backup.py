"""Backups of a record in SQLite: one file, made while a server writes, checked, and put back."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from secrets import token_hex

from collab.storage.base import StorageCorrupt
from collab.storage.copying import CopyProgress, Damage, TargetNotEmpty, count_batch, not_intact
from collab.storage.sqlite.copy import counts_of, name_of, read_all
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
from collab.storage.sqlite.schema import check, prepare

PageCount = Callable[[int, int], object]
"""Called with how many pages are copied, and of how many."""

_SLICE_PAGES = 1024
_LOCK_SECONDS = 1.0


def back_up_sqlite(
    data: Path,
    target: Path,
    *,
    copied: PageCount,
    moved: Callable[[CopyProgress], object],
    damaged: Callable[[Damage], object],
) -> CopyProgress:
    """Copy the record in a folder, as it is now, to the file ``target``, and verify the copy before it gets its name.

    A server that uses the folder goes on writing. Content that does not match its checksum is copied as it is, and
    ``damaged`` is called with it; ``moved`` is called while the copy is verified. Raises
    :class:`collab.storage.base.StorageError` if there is no record or the disk fails, and
    :class:`collab.storage.base.StorageCorrupt` if the record is damaged or its schema is not the newest.
    """
    path = data / FILE_NAME
    check_there(path)

    def copy() -> CopyProgress:
        made = unfinished(target)
        delete_files(made)
        keep_private(made, create=True)
        try:
            with closing(connect_to_read(path)) as source, closing(connect(made, 5.0)) as destination:
                check(source)
                # one state of the record for all slices: otherwise each commit would make the copy begin anew
                source.execute("BEGIN")
                source.execute("SELECT 1 FROM record").fetchone()
                _copy_pages(source, destination, copied)
            with closing(connect(made, 5.0)) as destination:
                done = verify(destination, moved=moved, damaged=damaged)
            sync(made)
            made.rename(target)
            sync(target.parent)
        finally:
            delete_files(made)
        return done

    return translate(copy)


def restore_sqlite(
    backup: Path,
    data: Path,
    *,
    replaces: bool,
    copied: PageCount,
    moved: Callable[[CopyProgress], object],
    damaged: Callable[[Damage], object],
) -> CopyProgress:
    """Make a backup the record in a folder, with a new epoch. It is copied, migrated and verified first.

    Raises :class:`TargetNotEmpty` if the folder has a record and this does not replace it,
    :class:`collab.storage.base.StorageError` if there is no backup, or a server uses the folder, and
    :class:`collab.storage.base.StorageCorrupt` if the backup cannot be used.
    """
    check_there(backup)

    def restore() -> CopyProgress:
        lock = take_folder(data, _LOCK_SECONDS)
        path = data / FILE_NAME
        made = unfinished(path)
        try:
            if not replaces and any(file.exists() for file in files_of(path)):
                raise TargetNotEmpty(f"there is a record in {data} already: --force replaces it")
            delete_files(made)
            keep_private(made, create=True)
            with closing(connect_to_read(backup)) as source, closing(connect(made, 5.0)) as destination:
                _copy_pages(source, destination, copied)
            with closing(connect(made, 5.0)) as destination:
                prepare(destination)
                done = verify(destination, moved=moved, damaged=damaged)
                destination.execute("UPDATE record SET value = ? WHERE name = 'epoch'", (token_hex(8),))
                destination.execute("DELETE FROM receipts")
                destination.execute("PRAGMA journal_mode = DELETE").fetchall()
            sync(made)
            _settle(path)
            made.rename(path)
            sync(data)
        finally:
            delete_files(made)
            lock.close()
        return done

    return translate(restore)


def verify(
    connection: sqlite3.Connection, *, moved: Callable[[CopyProgress], object], damaged: Callable[[Damage], object]
) -> CopyProgress:
    """Read everything, and compare it with its checksums.

    ``damaged`` is called with each piece of content that does not match. Raises
    :class:`collab.storage.base.StorageCorrupt` if the file itself is damaged, or its schema is not the newest.
    """
    check(connection)
    complaints = [row[0] for row in connection.execute("PRAGMA integrity_check(1)")]
    if complaints != ["ok"]:
        raise StorageCorrupt(f"the database file is damaged: {complaints[0]}")
    progress = CopyProgress(counts_of(connection))
    for batch in read_all(connection):
        for row in not_intact(batch.rows):
            damaged(Damage(name_of(connection, row.document), row))
            progress.damaged += 1
        count_batch(progress, batch)
        moved(progress)
    return progress


def _copy_pages(source: sqlite3.Connection, destination: sqlite3.Connection, copied: PageCount) -> None:
    source.backup(
        destination,
        pages=_SLICE_PAGES,
        progress=lambda _status, remaining, total: copied(total - remaining, total),
        sleep=0.05,
    )
    destination.execute("PRAGMA journal_mode = DELETE").fetchall()  # one file, with nothing beside it


def _settle(path: Path) -> None:
    """Leave nothing beside a database that is about to be replaced: SQLite would take it for the next one's."""
    with suppress(sqlite3.Error):  # it may be damaged: that is why it is replaced
        if path.exists():
            with closing(connect(path, 5.0)) as connection:
                connection.execute("PRAGMA journal_mode = DELETE").fetchall()
    for side in files_of(path)[1:]:
        side.unlink(missing_ok=True)
