"""Commands on a database without a running server."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from collab.names import RoomKey
from collab.records.erasing import erased_with
from collab.records.schema import Schemas
from collab.server.config.settings import Settings
from collab.storage import sqlite_entities
from collab.storage.base import DeadLetter, StorageError
from collab.storage.location import check_driver, is_postgres, storage_at
from collab.storage.sqlite_database import FILE_NAME


async def read_dead_letters(settings: Settings, webhook: str) -> Sequence[DeadLetter]:
    """Return the events that were not delivered to a webhook, oldest first. A server may use the record meanwhile.

    Raises :class:`collab.storage.base.StorageError` if there is no database.
    """
    if not is_postgres(settings.location):
        return _read_file(Path(settings.location), webhook)
    check_driver()
    from collab.storage.postgres import PostgresStorage

    storage = PostgresStorage(settings.location, opens="to read")
    await storage.open()
    try:
        return await storage.dead_letters(webhook)
    finally:
        await storage.close()


def _read_file(data: Path, webhook: str) -> list[DeadLetter]:
    path = (data / FILE_NAME).absolute()
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            return sqlite_entities.read_dead_letters(connection, webhook)
    except sqlite3.Error as error:
        raise StorageError(f"{path} cannot be read: {error}") from None


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
