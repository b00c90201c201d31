"""Reads a record in SQLite beside the server that writes it (WAL), over a read-only connection."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from collab.names import RoomKey
from collab.storage.base import DeadLetter, Positions, SetAside
from collab.storage.codec import event_from
from collab.storage.reading import (
    AsideHead,
    CollectionCount,
    DeletedEntity,
    LoadedRecord,
    NumberedAside,
    NumberedLetter,
    ProjectSize,
    WebhookProgress,
)
from collab.storage.sqlite import documents, entities, positions
from collab.storage.sqlite.files import FILE_NAME, check_there, connect_to_read, translate
from collab.storage.sqlite.schema import check

T = TypeVar("T")


@asynccontextmanager
async def sqlite_reader(data: Path) -> AsyncIterator[SqliteReader]:
    """Read the record in a folder; a server may use it meanwhile.

    Raises :class:`collab.storage.base.StorageError` if there is none, and
    :class:`collab.storage.base.StorageCorrupt` if its schema is not the newest.
    """
    path = data / FILE_NAME
    check_there(path)
    with ThreadPoolExecutor(1, "collab-read") as thread:
        connection = await _run(thread, partial(connect_to_read, path))
        try:
            await _run(thread, partial(check, connection))
            yield SqliteReader(connection, thread)
        finally:
            await _run(thread, connection.close)


class SqliteReader:
    """A :class:`collab.storage.reading.RecordReader`. ``connection`` is used in ``thread``."""

    def __init__(self, connection: sqlite3.Connection, thread: ThreadPoolExecutor) -> None:
        self._connection = connection
        self._thread = thread

    async def positions(self) -> Positions:
        return await self._read(positions.read_positions)

    async def newest_at(self) -> float:
        return await self._read(positions.read_newest_at)

    async def collections(self) -> Sequence[CollectionCount]:
        return await self._read(lambda connection: [CollectionCount(*row) for row in connection.execute(_COLLECTIONS)])

    async def ids(self, project: str, collection: str, after: str, limit: int) -> Sequence[str]:
        values = {"project": project, "collection": collection, "after": after, "limit": limit}
        return await self._read(lambda connection: [row[0] for row in connection.execute(_IDS, values)])

    async def deleted(self, project: str, collection: str, after: str, limit: int) -> Sequence[DeletedEntity]:
        values = (project, collection, after, limit)
        return await self._read(
            lambda connection: [DeletedEntity(*row) for row in connection.execute(_DELETED, values)]
        )

    async def load(self, key: RoomKey) -> LoadedRecord | None:
        record, damaged = await self._read(lambda connection: documents.load(connection, key))
        return None if record is None else LoadedRecord(record, damaged)

    async def schemas(self, project: str) -> dict[str, tuple[int, bytes]]:
        return await self._read(lambda connection: entities.read_schemas(connection, project))

    async def webhooks(self) -> Sequence[WebhookProgress]:
        return await self._read(lambda connection: [WebhookProgress(*row) for row in connection.execute(_WEBHOOKS)])

    async def dead_letters(self, webhook: str, *, after: int = 0, limit: int | None = None) -> Sequence[NumberedLetter]:
        values = (webhook, after, -1 if limit is None else limit)
        rows = await self._read(lambda connection: connection.execute(_LETTERS, values).fetchall())
        return [
            NumberedLetter(number, DeadLetter(name, event_from(event), project, reason, at))
            for number, name, event, project, reason, at in rows
        ]

    async def quarantined(self) -> Sequence[NumberedAside]:
        rows = await self._read(lambda connection: connection.execute(_ASIDE).fetchall())
        return [NumberedAside(number, SetAside(RoomKey(*row[:3]), *row[3:])) for number, *row in rows]

    async def quarantine_page(self, after: int, limit: int) -> Sequence[AsideHead]:
        rows = await self._read(lambda connection: connection.execute(_ASIDE_PAGE, (after, limit)).fetchall())
        return [AsideHead(number, RoomKey(*row[:3]), *row[3:]) for number, *row in rows]

    async def quarantined_entry(self, number: int) -> NumberedAside | None:
        row = await self._read(lambda connection: connection.execute(_ASIDE_ENTRY, (number,)).fetchone())
        return None if row is None else NumberedAside(row[0], SetAside(RoomKey(*row[1:4]), *row[4:]))

    async def sizes(self) -> Sequence[ProjectSize]:
        return await self._read(lambda connection: [ProjectSize(*row) for row in connection.execute(_SIZES)])

    async def clock(self) -> float | None:
        return None

    async def complaints(self) -> Sequence[str]:
        rows = await self._read(lambda connection: connection.execute("PRAGMA quick_check(10)").fetchall())
        return [row[0] for row in rows if row[0] != "ok"]

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await _run(self._thread, partial(work, self._connection))


_COLLECTIONS = (
    "SELECT project, collection, count(*) FROM (SELECT project, collection, id FROM entities"
    " UNION SELECT project, collection, id FROM documents) GROUP BY project, collection ORDER BY project, collection"
)
_IDS = (
    "SELECT id FROM (SELECT * FROM (SELECT id FROM entities WHERE project = :project AND collection = :collection"
    " AND id > :after ORDER BY id LIMIT :limit) UNION SELECT * FROM (SELECT id FROM documents WHERE project = :project"
    " AND collection = :collection AND id > :after ORDER BY id LIMIT :limit)) ORDER BY id LIMIT :limit"
)
_DELETED = (
    "SELECT id, version, updated_at FROM entities WHERE project = ? AND collection = ? AND id > ? AND deleted"
    " ORDER BY id LIMIT ?"
)
_WEBHOOKS = (
    "SELECT name, project, max(position), sum(dead) FROM (SELECT name, project, position, 0 AS dead FROM webhooks"
    " UNION ALL SELECT webhook, project, 0, count(*) FROM dead_letters GROUP BY webhook, project)"
    " GROUP BY name, project ORDER BY name, project"
)
_LETTERS = (
    "SELECT number, webhook, event, project, reason, at FROM dead_letters WHERE webhook = ?"
    " AND number > ? ORDER BY number LIMIT ?"
)
_ASIDE_PAGE = (
    "SELECT number, project, collection, id, seq, length(content), reason, at FROM set_aside WHERE number > ?"
    " ORDER BY number LIMIT ?"
)
_ASIDE_ENTRY = "SELECT number, project, collection, id, seq, content, reason, at FROM set_aside WHERE number = ?"
_SIZES = (
    "SELECT project, sum(entities), sum(events), sum(documents), sum(history) FROM ("
    "SELECT project, length(CAST(data AS BLOB)) + length(heads) AS entities, 0 AS events, 0 AS documents, 0 AS history"
    " FROM entities"
    " UNION ALL SELECT project, 0, length(CAST(data AS BLOB)) + length(CAST(changes AS BLOB)), 0, 0 FROM events"
    " UNION ALL SELECT project, 0, 0, length(content), 0 FROM log JOIN documents USING (rid)"
    " UNION ALL SELECT project, 0, 0, length(content) + length(gate), 0 FROM snapshots JOIN documents USING (rid)"
    " UNION ALL SELECT project, 0, 0, 0, length(content) FROM archive JOIN documents USING (rid)"
    " UNION ALL SELECT project, 0, 0, 0, length(content) FROM bases JOIN documents USING (rid)"
    ") GROUP BY project ORDER BY project"
)
_ASIDE = "SELECT number, project, collection, id, seq, content, reason, at FROM set_aside ORDER BY number"


async def _run(thread: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(thread, translate, work)
