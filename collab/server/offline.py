"""Commands on a database without a running server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from collab.errors import InvalidRequest
from collab.names import RoomKey
from collab.records.erasing import erased_with
from collab.records.schema import Schemas
from collab.server.config.settings import Settings
from collab.storage.copying import CopyProgress, Damage, copy_record
from collab.storage.location import (
    check_driver,
    is_postgres,
    is_same,
    read_schema_version,
    source_at,
    storage_at,
    target_at,
)
from collab.storage.nodes import NodeRow
from collab.storage.renaming import Renamed
from collab.storage.sqlite.renaming import rename_in_sqlite

if TYPE_CHECKING:
    from collab.storage.postgres.storage import PostgresStorage


async def read_nodes(settings: Settings) -> Sequence[NodeRow]:
    """Return the nodes of a PostgreSQL database, by number. They may be running.

    Raises :class:`InvalidRequest` for a folder, and :class:`collab.storage.base.StorageError` if there is no database.
    """
    if not is_postgres(settings.location):
        raise InvalidRequest("only a PostgreSQL database has nodes: a folder is used by one server at a time")
    async with _reading(settings) as storage:
        return await storage.nodes()


@asynccontextmanager
async def _reading(settings: Settings) -> AsyncIterator[PostgresStorage]:
    check_driver()
    from collab.storage.postgres.storage import PostgresStorage

    storage = PostgresStorage(settings.location, opens="to read")
    await storage.open()
    try:
        yield storage
    finally:
        await storage.close()


async def copy_offline(
    source: str,
    target: str,
    *,
    takes_over: bool = False,
    moved: Callable[[CopyProgress], object],
    damaged: Callable[[Damage], object],
) -> CopyProgress:
    """Copy the record at one location to another one, which must be empty: see :func:`copy_record`.

    If this fails or ends early, the target has no record. Raises :class:`InvalidRequest` if both are the same,
    :class:`collab.storage.copying.TargetNotEmpty`, and :class:`collab.storage.base.StorageError` if there is no source,
    or a server uses one of both (in PostgreSQL: unless this ``takes_over``).
    """
    if is_same(source, target):
        raise InvalidRequest("a record cannot be copied to where it is")
    async with source_at(source, takes_over=takes_over) as reads, target_at(target, takes_over=takes_over) as writes:
        return await copy_record(reads, writes, moved=moved, damaged=damaged)


async def migrate_offline(settings: Settings, *, takes_over: bool = False) -> tuple[int, int]:
    """Bring the schema of a record to the newest version. Returns the version that it had, and the newest.

    Raises :class:`collab.storage.base.StorageError` if there is no record, or a server uses it (unless this
    ``takes_over``), and :class:`collab.storage.base.StorageCorrupt` if it is of another application or a newer version.
    """
    version, newest = await read_schema_version(settings.location)
    if version < newest:
        storage = storage_at(settings.location, takes_over=takes_over)
        await storage.open()
        await storage.close()
    return version, newest


async def rename_offline(
    settings: Settings, old: str, new: str, project: str | None, *, takes_over: bool = False
) -> Renamed:
    """Rename a collection in one project or in all.

    Raises :class:`collab.errors.NotFound` if there is none, :class:`collab.errors.Conflict` if the new name is taken,
    and :class:`collab.storage.base.StorageError` if a server uses the record (in PostgreSQL: unless this
    ``takes_over``).
    """
    if not is_postgres(settings.location):
        return rename_in_sqlite(Path(settings.location), old, new, project)
    check_driver()
    from collab.storage.postgres.renaming import rename_in_postgres

    return await rename_in_postgres(settings.location, old, new, project, takes_over=takes_over)


async def erase_offline(settings: Settings, key: RoomKey, *, takes_over: bool = False) -> int:
    """Erase an entity and those inside its document, and rewrite a SQLite file. Returns the number of erased entities.

    Raises :class:`collab.storage.base.StorageError` if a server uses the record (unless this ``takes_over``), and the
    errors of :func:`collab.records.erasing.erased_with`.
    """
    storage = storage_at(settings.location, takes_over=takes_over)
    await storage.open()
    try:
        keys = await erased_with(storage, Schemas(settings.collections), key)
        await storage.erase(keys)
        await storage.compact()
    finally:
        await storage.close()
    return len(keys)
