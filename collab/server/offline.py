"""Commands on a database without a running server."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from collab.names import RoomKey
from collab.records.erasing import erased_with
from collab.records.schema import Schemas
from collab.server.config.settings import Settings
from collab.storage import sqlite_entities
from collab.storage.base import DeadLetter, StorageError
from collab.storage.sqlite import SqliteStorage
from collab.storage.sqlite_database import FILE_NAME


def read_dead_letters(settings: Settings, webhook: str) -> list[DeadLetter]:
    """Return the events that were not delivered to a webhook, oldest first. A server may use the folder meanwhile.

    Raises :class:`collab.storage.base.StorageError` if there is no database.
    """
    path = (Path(settings.data) / FILE_NAME).absolute()
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            return sqlite_entities.read_dead_letters(connection, webhook)
    except sqlite3.Error as error:
        raise StorageError(f"{path} cannot be read: {error}") from None


async def erase_offline(settings: Settings, key: RoomKey) -> int:
    """Erase an entity and those inside its document, and rewrite the file. Returns the number of erased entities.

    Raises :class:`collab.storage.base.StorageError` if a server uses the folder, and the errors of
    :func:`collab.records.erasing.erased_with`.
    """
    storage = SqliteStorage(Path(settings.data), lock_seconds=1.0)
    await storage.open()
    try:
        keys = await erased_with(storage, Schemas(settings.collections), key)
        await storage.erase(keys)
        await storage.compact()
    finally:
        await storage.close()
    return len(keys)
