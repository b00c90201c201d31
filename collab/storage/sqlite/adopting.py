"""Takes entities into a SQLite record: see :mod:`collab.storage.adopting`."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from secrets import token_hex

from collab.storage.adopting import Adoptee, AdoptionPlaces, AdoptionResult, compare, next_moment, rows_of
from collab.storage.sqlite.copy import write_rows
from collab.storage.sqlite.documents import find_rid
from collab.storage.sqlite.entities import read_entity
from collab.storage.sqlite.files import FILE_NAME, connect, keep_private, take_folder, translate
from collab.storage.sqlite.positions import next_position, read_newest_at
from collab.storage.sqlite.schema import prepare
from collab.storage.sqlite.search import index_anew

_LOCK_SECONDS = 1.0


@asynccontextmanager
async def sqlite_adopter(data: Path) -> AsyncIterator[SqliteAdopter]:
    """The record in a folder, which no other process can use inside the block; created or migrated if necessary.

    Raises :class:`collab.storage.base.StorageError` if another process uses it.
    """
    with ThreadPoolExecutor(1, "collab-write") as thread:
        loop = asyncio.get_running_loop()
        lock = await loop.run_in_executor(thread, translate, partial(take_folder, data, _LOCK_SECONDS))
        try:
            keep_private(data / FILE_NAME, create=True)
            connection = connect(data / FILE_NAME, 5.0)
            try:
                await loop.run_in_executor(thread, translate, partial(_prepare, connection))
                yield SqliteAdopter(connection, thread)
            finally:
                await loop.run_in_executor(thread, connection.close)
        finally:
            lock.close()


def _prepare(connection: sqlite3.Connection) -> None:
    prepare(connection)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")


class SqliteAdopter:
    """A :class:`collab.storage.adopting.RecordAdopter`. ``connection`` is used in ``thread``."""

    def __init__(self, connection: sqlite3.Connection, thread: ThreadPoolExecutor) -> None:
        self._connection = connection
        self._thread = thread

    async def adopt(self, entities: Sequence[Adoptee], now: float) -> Sequence[AdoptionResult]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, translate, partial(_adopt, self._connection, entities, now))


def _adopt(connection: sqlite3.Connection, entities: Sequence[Adoptee], now: float) -> list[AdoptionResult]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        results = [_adopt_one(connection, each, now) for each in entities]
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return results


def _adopt_one(connection: sqlite3.Connection, adoptee: Adoptee, now: float) -> AdoptionResult:
    result = compare(
        adoptee, read_entity(connection, adoptee.key), has_document=find_rid(connection, adoptee.key) is not None
    )
    if result != "created":
        return result
    rid, eid = connection.execute("SELECT (SELECT max(rid) FROM documents), (SELECT max(eid) FROM entities)").fetchone()
    position = next_position(connection, adoptee.key.project) if adoptee.version else 0
    at = next_moment(now, read_newest_at(connection))
    places = AdoptionPlaces((rid or 0) + 1, (eid or 0) + 1, position, at, token_hex(8))
    for row in rows_of(adoptee, places):
        write_rows(connection, [row])
    index_anew(connection, adoptee.key.collection)
    return "created"
