"""Reads a record in PostgreSQL beside the server that writes it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from collab.names import RoomKey
from collab.storage.base import DeadLetter, Positions, SetAside
from collab.storage.codec import event_from
from collab.storage.postgres import documents, entities, history
from collab.storage.postgres.database import PostgresDatabase, durability_warnings
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


@asynccontextmanager
async def postgres_reader(url: str) -> AsyncIterator[PostgresReader]:
    """Read the record in a database; a server may use it meanwhile.

    Raises :class:`collab.storage.base.StorageError` if there is none, and
    :class:`collab.storage.base.StorageCorrupt` if its schema is not the newest.
    """
    database = PostgresDatabase(url, loads=1, queries=1, opens="to read")
    await database.open()
    try:
        yield PostgresReader(database)
    finally:
        await database.close()


class PostgresReader:
    """A :class:`collab.storage.reading.RecordReader`."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    async def positions(self) -> Positions:
        async with self._database.query() as connection:
            return await history.read_positions(connection)

    async def newest_at(self) -> float:
        async with self._database.query() as connection:
            return await history.read_newest_at(connection)

    async def collections(self) -> Sequence[CollectionCount]:
        async with self._database.query() as connection:
            return [CollectionCount(*row) for row in await connection.fetch(_COLLECTIONS)]

    async def ids(self, project: str, collection: str, after: str, limit: int) -> Sequence[str]:
        async with self._database.query() as connection:
            return [row[0] for row in await connection.fetch(_IDS, project, collection, after, limit)]

    async def deleted(self, project: str, collection: str, after: str, limit: int) -> Sequence[DeletedEntity]:
        async with self._database.query() as connection:
            rows = await connection.fetch(_DELETED, project, collection, after, limit)
        return [DeletedEntity(*row) for row in rows]

    async def load(self, key: RoomKey) -> LoadedRecord | None:
        async with self._database.query() as connection:
            record, damaged = await documents.load(connection, key)
        return None if record is None else LoadedRecord(record, damaged)

    async def schemas(self, project: str) -> dict[str, tuple[int, bytes]]:
        async with self._database.query() as connection:
            return await entities.read_schemas(connection, project)

    async def webhooks(self) -> Sequence[WebhookProgress]:
        async with self._database.query() as connection:
            return [WebhookProgress(*row) for row in await connection.fetch(_WEBHOOKS)]

    async def dead_letters(self, webhook: str, *, after: int = 0, limit: int | None = None) -> Sequence[NumberedLetter]:
        async with self._database.query() as connection:
            rows = await connection.fetch(_LETTERS, webhook, after, limit)
        return [
            NumberedLetter(number, DeadLetter(name, event_from(event), project, reason, at))
            for number, name, event, project, reason, at in rows
        ]

    async def quarantined(self) -> Sequence[NumberedAside]:
        async with self._database.query() as connection:
            rows = await connection.fetch(_ASIDE)
        return [NumberedAside(number, SetAside(RoomKey(*row[:3]), *row[3:])) for number, *row in rows]

    async def quarantine_page(self, after: int, limit: int) -> Sequence[AsideHead]:
        async with self._database.query() as connection:
            rows = await connection.fetch(_ASIDE_PAGE, after, limit)
        return [AsideHead(number, RoomKey(*row[:3]), *row[3:]) for number, *row in rows]

    async def quarantined_entry(self, number: int) -> NumberedAside | None:
        async with self._database.query() as connection:
            row = await connection.fetchrow(_ASIDE_ENTRY, number)
        return None if row is None else NumberedAside(row[0], SetAside(RoomKey(*row[1:4]), *row[4:]))

    async def sizes(self) -> Sequence[ProjectSize]:
        async with self._database.query() as connection:
            return [ProjectSize(*row) for row in await connection.fetch(_SIZES)]

    async def clock(self) -> float | None:
        async with self._database.query() as connection:
            return float(await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8"))

    async def complaints(self) -> Sequence[str]:
        async with self._database.query() as connection:
            return await durability_warnings(connection)


_COLLECTIONS = (
    "SELECT project, collection, count(*) FROM (SELECT project, collection, id FROM collab.entities"
    " UNION SELECT project, collection, id FROM collab.documents) AS k"
    " GROUP BY project, collection ORDER BY project, collection"
)
_IDS = (
    "SELECT id FROM ((SELECT id FROM collab.entities WHERE project = $1 AND collection = $2 AND id > $3"
    " ORDER BY id LIMIT $4) UNION (SELECT id FROM collab.documents WHERE project = $1 AND collection = $2 AND id > $3"
    " ORDER BY id LIMIT $4)) AS k ORDER BY id LIMIT $4"
)
_DELETED = (
    "SELECT id, version, updated_at FROM collab.entities WHERE project = $1 AND collection = $2 AND id > $3 AND deleted"
    " ORDER BY id LIMIT $4"
)
_WEBHOOKS = (
    "SELECT name, project, max(position)::bigint, sum(dead)::bigint FROM (SELECT name, project, position, 0 AS dead"
    " FROM collab.webhooks UNION ALL SELECT webhook, project, 0, count(*) FROM collab.dead_letters"
    " GROUP BY webhook, project) AS k GROUP BY name, project ORDER BY name, project"
)
_LETTERS = (
    "SELECT number, webhook, event, project, reason, at FROM collab.dead_letters WHERE webhook = $1 AND number > $2"
    " ORDER BY number LIMIT $3"
)
_ASIDE_PAGE = (
    "SELECT number, project, collection, id, seq, octet_length(content), reason, at FROM collab.set_aside"
    " WHERE number > $1 ORDER BY number LIMIT $2"
)
_ASIDE_ENTRY = (
    "SELECT number, project, collection, id, seq, content, reason, at FROM collab.set_aside WHERE number = $1"
)
_SIZES = (
    "SELECT project, sum(entities)::bigint, sum(events)::bigint, sum(documents)::bigint, sum(history)::bigint FROM ("
    "SELECT project, octet_length(data) + octet_length(heads) AS entities, 0 AS events, 0 AS documents, 0 AS history"
    " FROM collab.entities"
    " UNION ALL SELECT project, 0, octet_length(data) + octet_length(changes), 0, 0 FROM collab.events"
    " UNION ALL SELECT project, 0, 0, octet_length(content), 0 FROM collab.log JOIN collab.documents USING (rid)"
    " UNION ALL SELECT project, 0, 0, octet_length(content) + octet_length(gate), 0 FROM collab.snapshots"
    " JOIN collab.documents USING (rid)"
    " UNION ALL SELECT project, 0, 0, 0, octet_length(content) FROM collab.archive JOIN collab.documents USING (rid)"
    " UNION ALL SELECT project, 0, 0, 0, octet_length(content) FROM collab.bases JOIN collab.documents USING (rid)"
    ") AS k GROUP BY project ORDER BY project"
)
_ASIDE = "SELECT number, project, collection, id, seq, content, reason, at FROM collab.set_aside ORDER BY number"
