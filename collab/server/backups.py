"""Backups of a record, whatever it is in: one SQLite file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from secrets import token_hex
from threading import Event
from time import gmtime, strftime
from typing import ParamSpec

from collab.errors import InvalidRequest
from collab.storage.copying import (
    Copied,
    CopiedHead,
    CopyProgress,
    Damage,
    RecordTarget,
    TargetNotEmpty,
    copy_record,
)
from collab.storage.location import is_postgres, moment_at, target_at
from collab.storage.sqlite.backup import PageCount, back_up_sqlite, restore_sqlite, verify
from collab.storage.sqlite.copy import sqlite_file_source, sqlite_file_target
from collab.storage.sqlite.files import (
    check_there,
    connect_to_read,
    delete_files,
    sync,
    translate,
    unfinished,
)

Moved = Callable[[CopyProgress], object]
Damaged = Callable[[Damage], object]


def backup_path(target: str, moment: float, *, replaces: bool) -> Path:
    """The file of a backup: ``target``, or in this folder one that is named after the time, in UTC.

    Raises :class:`TargetNotEmpty` if it exists and is not to be replaced, :class:`InvalidRequest` if it cannot be one.
    """
    path = Path(target)
    if path.is_dir():
        path = path / strftime("collab-%Y%m%dT%H%M%SZ.db", gmtime(moment))
    if not path.parent.is_dir():
        raise InvalidRequest(f"there is no folder {path.parent}")
    if path.exists() and not replaces:
        raise TargetNotEmpty(f"there is a file {path} already: --force replaces it")
    return path


async def back_up(location: str, target: Path, *, copied: PageCount, moved: Moved, damaged: Damaged) -> CopyProgress:
    """Write the record at ``location`` as it is at one moment to the file ``target``. A server may use it meanwhile.

    The file has its name only once it is whole, verified and on the disk. Content that does not match its checksum is
    copied as it is; ``damaged`` is called with each piece. Raises :class:`collab.storage.base.StorageError` and
    :class:`collab.storage.base.StorageCorrupt`.
    """
    if not is_postgres(location):
        return await _in_thread(
            lambda watched: back_up_sqlite(
                Path(location), target, copied=watched(copied), moved=watched(moved), damaged=damaged
            )
        )
    made = unfinished(target)
    try:
        async with moment_at(location) as reads, sqlite_file_target(made) as writes:
            done = await copy_record(reads, writes, moved=moved, damaged=damaged)
        _check(made, moved=lambda _: None, damaged=lambda _: None)
        made.rename(target)
        sync(target.parent)
    finally:
        delete_files(made)
    return done


async def restore(
    backup: Path,
    location: str,
    *,
    replaces: bool,
    takes_over: bool,
    copied: PageCount,
    moved: Moved,
    damaged: Damaged,
) -> CopyProgress:
    """Make a backup the record at ``location``, with a new epoch, after all of it was read and compared.

    Raises :class:`TargetNotEmpty` if there is a record that this does not replace,
    :class:`collab.storage.base.StorageError` if there is no backup, or a server uses the record, and
    :class:`collab.storage.base.StorageCorrupt` if the backup cannot be used. Nothing was changed then.
    """
    if not is_postgres(location):
        return await _in_thread(
            lambda watched: restore_sqlite(
                backup,
                Path(location),
                replaces=replaces,
                copied=watched(copied),
                moved=watched(moved),
                damaged=damaged,
            )
        )
    _check(backup, moved=moved, damaged=lambda _: None)
    async with (
        sqlite_file_source(backup) as reads,
        target_at(location, takes_over=takes_over, empties=replaces) as writes,
    ):
        return await copy_record(reads, _Renewed(writes), moved=moved, damaged=damaged)


class _Interrupted(Exception):
    """The caller was cancelled."""


_P = ParamSpec("_P")
_Watch = Callable[[Callable[_P, object]], Callable[_P, None]]


async def _in_thread(work: Callable[[_Watch[...]], CopyProgress]) -> CopyProgress:
    """Do work in a thread. It ends when the caller is cancelled, at the next call of a function that is watched."""
    cancelled = Event()

    def watched(told: Callable[_P, object]) -> Callable[_P, None]:
        def tell(*args: _P.args, **named: _P.kwargs) -> None:
            if cancelled.is_set():
                raise _Interrupted
            told(*args, **named)

        return tell

    task = asyncio.ensure_future(asyncio.to_thread(work, watched))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        cancelled.set()
        await asyncio.wait((task,))
        task.exception()
        raise


def _check(path: Path, *, moved: Moved, damaged: Damaged) -> None:
    check_there(path)

    def check() -> None:
        with closing(connect_to_read(path)) as connection:
            verify(connection, moved=moved, damaged=damaged)

    translate(check)


class _Renewed:
    """A record that goes on under another epoch: positions after it do not mean what they meant before."""

    def __init__(self, target: RecordTarget) -> None:
        self._target = target

    async def write(self, rows: Sequence[Copied]) -> None:
        if isinstance(rows[0], CopiedHead):
            rows = [rows[0]._replace(epoch=token_hex(8))]
        await self._target.write(rows)
