"""Entities in PostgreSQL, and declarations, webhooks and dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg

from collab.access.revocations import Revocation
from collab.names import RoomKey
from collab.storage.base import DeadLetter, EntityRow, Requested
from collab.storage.codec import event_from, from_json, to_json
from collab.storage.postgres.values import plain

COLUMNS = "project, collection, id, version, data, deleted, heads, content_seq"
"""Columns of ``entities``, in the order of :func:`entity_row`."""


def entity_row(row: asyncpg.Record | Sequence[Any]) -> EntityRow:
    """An entity from its columns. Raises :class:`msgspec.DecodeError` if they are damaged."""
    project, collection, entity, version, data, deleted, heads, content_seq = row
    return EntityRow(RoomKey(project, collection, entity), version, from_json(data), deleted, heads, content_seq)


async def read_entity(connection: asyncpg.Connection, key: RoomKey) -> EntityRow | None:
    """One entity, deleted or not."""
    row = await connection.fetchrow(
        f"SELECT {COLUMNS} FROM collab.entities WHERE project = $1 AND collection = $2 AND id = $3",  # noqa: S608
        *key,
    )
    return None if row is None else entity_row(row)


async def read_children(connection: asyncpg.Connection, project: str, collection: str, prefix: str) -> list[EntityRow]:
    """The entities whose id begins with ``prefix``, deleted or not, by id."""
    rows = await connection.fetch(
        f"SELECT {COLUMNS} FROM collab.entities WHERE project = $1 AND collection = $2"  # noqa: S608
        " AND id >= $3 AND id < $4 ORDER BY id",
        project,
        collection,
        prefix,
        prefix + "\U0010ffff",
    )
    return [entity_row(row) for row in rows]


async def list_half_deleted(connection: asyncpg.Connection, collection: str, inside: str, limit: int) -> list[RoomKey]:
    """Deleted entities of ``collection`` with living entities of ``inside`` in them."""
    rows = await connection.fetch(
        "SELECT e.project, e.id FROM collab.entities AS e WHERE e.collection = $1 AND e.deleted_at IS NOT NULL"
        " AND EXISTS (SELECT 1 FROM collab.entities AS i WHERE i.project = e.project AND i.collection = $2"
        " AND i.id >= e.id || ':' AND i.id < e.id || ';' AND NOT i.deleted) LIMIT $3",
        collection,
        inside,
        limit,
    )
    return [RoomKey(project, collection, entity) for project, entity in rows]


async def list_expired(connection: asyncpg.Connection, before: float, limit: int) -> list[RoomKey]:
    """Entities that were deleted before this time."""
    rows = await connection.fetch(
        "SELECT project, collection, id FROM collab.entities WHERE deleted_at < $1 LIMIT $2", before, limit
    )
    return [RoomKey(*row) for row in rows]


_REQUESTS = (
    "SELECT e.project, e.collection, e.id, r.version, r.digest FROM %s"
    " LEFT JOIN collab.requests AS r ON r.project = k.project AND r.caller = k.caller AND r.request = k.name"
    " LEFT JOIN collab.entities AS e ON e.eid = r.eid"
)
_REQUEST = _REQUESTS % "(SELECT $1::text AS project, $2::text AS caller, $3::text AS name) AS k"
_REQUESTS_OF = _REQUESTS % "unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS k(project, caller, name, i)"


async def read_requests(
    connection: asyncpg.Connection, requests: Sequence[tuple[str, str, str]]
) -> list[Requested | None]:
    """The results of named writes: (project, caller, name) each."""
    texts = [(project, plain(caller), plain(name)) for project, caller, name in requests]
    if len(texts) == 1:  # a plan for arrays would be made anew each time
        rows = [await connection.fetchrow(_REQUEST, *texts[0])]
    else:
        rows = await connection.fetch(
            f"{_REQUESTS_OF} ORDER BY k.i", *(list(part) for part in zip(*texts, strict=True))
        )
    return [
        None
        if version is None
        else Requested(None if entity is None else RoomKey(project, collection, entity), version, digest)
        for project, collection, entity, version, digest in rows
    ]


async def read_revocations(connection: asyncpg.Connection, now: float) -> list[Revocation]:
    """The revocations that are kept longer than ``now``."""
    rows = await connection.fetch(
        "SELECT project, kind, name, issued_before, kept_until FROM collab.revocations WHERE kept_until > $1", now
    )
    return [Revocation(*row) for row in rows]


async def read_schemas(connection: asyncpg.Connection, project: str) -> dict[str, tuple[int, bytes]]:
    """The declared collections: name -> version, JSON."""
    rows = await connection.fetch(
        "SELECT collection, version, content FROM collab.schemas WHERE project = $1 ORDER BY collection", project
    )
    return {collection: (version, content) for collection, version, content in rows}


async def read_webhook(connection: asyncpg.Connection, webhook: str, project: str) -> int | None:
    """The position up to which a webhook has processed a project's events."""
    position: int | None = await connection.fetchval(
        "SELECT position FROM collab.webhooks WHERE name = $1 AND project = $2", webhook, project
    )
    return position


def dead_letter_values(dead: Sequence[DeadLetter]) -> tuple[Any, ...]:
    """The last parameters of ``save_webhook_1``."""
    return (
        [letter.project for letter in dead],
        [letter.event.collection for letter in dead],
        [letter.event.id for letter in dead],
        [to_json(letter.event) for letter in dead],
        [plain(letter.reason) for letter in dead],
        [letter.at for letter in dead],
    )


async def read_dead_letters(connection: asyncpg.Connection, webhook: str) -> list[DeadLetter]:
    """Events that a webhook did not accept, oldest first."""
    rows = await connection.fetch(
        "SELECT webhook, event, project, reason, at FROM collab.dead_letters WHERE webhook = $1 ORDER BY number",
        webhook,
    )
    return [DeadLetter(name, event_from(event), project, reason, at) for name, event, project, reason, at in rows]
