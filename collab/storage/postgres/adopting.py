"""Takes entities into a PostgreSQL record: see :mod:`collab.storage.adopting`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from secrets import token_hex

import asyncpg

from collab.storage.adopting import Adoptee, AdoptionPlaces, AdoptionResult, compare, next_moment, rows_of
from collab.storage.postgres.copy import alone, connected, write_rows
from collab.storage.postgres.database import translated
from collab.storage.postgres.documents import find_rid
from collab.storage.postgres.entities import read_entity
from collab.storage.postgres.history import NEWEST, read_newest_at
from collab.storage.postgres.schema import check_free, prepare
from collab.storage.postgres.search import index_anew


@asynccontextmanager
async def postgres_adopter(url: str, *, takes_over: bool) -> AsyncIterator[PostgresAdopter]:
    """The record in a database, which no server may use meanwhile; created or migrated if necessary.

    Raises :class:`collab.storage.base.StorageError` if a server uses it and this does not take over.
    """
    async with connected(url) as connection:
        if not takes_over:
            await check_free(connection)
        await prepare(connection)
        yield PostgresAdopter(connection, takes_over=takes_over)


class PostgresAdopter:
    """A :class:`collab.storage.adopting.RecordAdopter`. Each call is one transaction, in which nobody else writes."""

    def __init__(self, connection: asyncpg.Connection, *, takes_over: bool) -> None:
        self._connection = connection
        self._takes_over = takes_over

    async def adopt(self, entities: Sequence[Adoptee], now: float) -> Sequence[AdoptionResult]:
        with translated():
            async with alone(self._connection, takes_over=self._takes_over):
                return [await self._adopt(each, now) for each in entities]

    async def _adopt(self, adoptee: Adoptee, now: float) -> AdoptionResult:
        connection, key = self._connection, adoptee.key
        result = compare(
            adoptee, await read_entity(connection, key), has_document=await find_rid(connection, key) is not None
        )
        if result != "created":
            return result
        rid, eid = await connection.fetchrow(
            "SELECT nextval('collab.documents_rid_seq'), nextval('collab.entities_eid_seq')"
        )
        position = await self._next_position(key.project) if adoptee.version else 0
        at = next_moment(now, await read_newest_at(connection))
        for row in rows_of(adoptee, AdoptionPlaces(rid, eid, position, at, token_hex(8))):
            await write_rows(connection, [row])
        await index_anew(connection, key.collection)
        return "created"

    async def _next_position(self, project: str) -> int:
        await self._connection.execute(
            "INSERT INTO collab.projects SELECT $1, base, base FROM collab.record ON CONFLICT DO NOTHING", project
        )
        newest = await self._connection.fetchval(
            f"SELECT {NEWEST} FROM collab.projects AS p WHERE p.project = $1",  # noqa: S608 - our own words
            project,
        )
        return int(newest) + 1
