"""Events in PostgreSQL: positions of projects, versions of entities, and the deletion of old ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg

from collab.dates import iso_micros
from collab.errors import NotFound
from collab.event import EntityEvent
from collab.names import RoomKey
from collab.storage.base import Positions, Span, Version
from collab.storage.codec import conflicts_from, from_json

NEWEST = "greatest(p.newest, coalesce((SELECT max(v.position) FROM collab.events AS v WHERE v.project = p.project), 0))"
"""The newest assigned position of a project, for the table ``collab.projects AS p``."""

_COLUMNS = (
    "v.seq, v.position, v.type, e.collection, e.id, v.version, v.data, v.changes, v.user_id, v.at, v.conflicts"
    " FROM collab.events AS v JOIN collab.entities AS e USING (eid)"
)


async def read_positions(connection: asyncpg.Connection, projects: Sequence[str] | None = None) -> Positions:
    """The newest position of these projects, or of every one."""
    rows = await connection.fetch(
        f"SELECT r.epoch, r.base, p.project, {NEWEST} FROM collab.record AS r"  # noqa: S608
        " LEFT JOIN collab.projects AS p ON $1::text[] IS NULL OR p.project = ANY ($1)",
        projects,
    )
    return Positions(rows[0][0], rows[0][1], {project: newest for _, _, project, newest in rows if project is not None})


async def read_span(connection: asyncpg.Connection, project: str) -> Span:
    """The range of a project's stored events."""
    row = await connection.fetchrow(
        f"SELECT p.oldest, {NEWEST} FROM collab.projects AS p WHERE p.project = $1",  # noqa: S608
        project,
    )
    if row is None:
        base = await connection.fetchval("SELECT base FROM collab.record")
        return Span(base, base)
    return Span(*row)


async def read_newest_at(connection: asyncpg.Connection) -> float:
    """The time of the newest event, 0 if there was none."""
    return float(
        await connection.fetchval(
            "SELECT greatest(r.newest_at, coalesce((SELECT max((SELECT v.at FROM collab.events AS v"
            " WHERE v.project = p.project ORDER BY v.position DESC LIMIT 1)) FROM collab.projects AS p), 0))"
            " FROM collab.record AS r"
        )
    )


async def read_events(
    connection: asyncpg.Connection, project: str, after: int, limit: int, collection: str | None, entity: str | None
) -> list[EntityEvent]:
    """Events of a project after a position, by position."""
    if collection is not None and entity is not None:
        # an entity's own index orders by version, which rises with the position
        rows = await connection.fetch(
            f"SELECT {_COLUMNS} WHERE e.project = $1 AND e.collection = $4 AND e.id = $5 AND v.position > $2"
            " ORDER BY v.version LIMIT $3",
            project,
            after,
            limit,
            collection,
            entity,
        )
    else:
        rows = await connection.fetch(
            f"SELECT {_COLUMNS} WHERE v.project = $1 AND v.position > $2 AND ($4::text IS NULL OR e.collection = $4)"
            " AND ($5::text IS NULL OR e.id = $5) ORDER BY v.position LIMIT $3",
            project,
            after,
            limit,
            collection,
            entity,
        )
    return [_version(row).event for row in rows]


async def read_history(connection: asyncpg.Connection, key: RoomKey, before: int | None, limit: int) -> list[Version]:
    """Versions of one entity below ``before``, newest first."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} WHERE e.project = $1 AND e.collection = $2 AND e.id = $3 AND v.version < $4"
        " ORDER BY v.version DESC LIMIT $5",
        *key,
        before if before is not None else (1 << 63) - 1,
        limit,
    )
    return [_version(row) for row in rows]


async def read_version(
    connection: asyncpg.Connection, key: RoomKey, *, version: int | None, at: float | None
) -> Version:
    """One version, the newest at a time, or the newest of all. Raises :class:`NotFound`."""
    condition = "v.version = $4" if version is not None else "v.at <= $4"
    value: Any = version if version is not None else at if at is not None else float("inf")
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} WHERE e.project = $1 AND e.collection = $2 AND e.id = $3 AND {condition}"
        " ORDER BY v.version DESC LIMIT 1",
        *key,
        value,
    )
    if row is None:
        raise NotFound("there was no such version, or it is no longer stored")
    return _version(row)


def _version(row: asyncpg.Record) -> Version:
    seq, position, kind, collection, entity, version, data, changes, user_id, at, conflicts = row
    event = EntityEvent(
        position,
        kind,
        collection,
        entity,
        version,
        from_json(data),
        from_json(changes),
        user_id,
        iso_micros(at),
        conflicts_from(conflicts),
    )
    return Version(event, seq)


async def read_cuts(connection: asyncpg.Connection, before: float) -> list[tuple[str, int]]:
    """For each project: the newest position such that it and everything before it is older than ``before``."""
    rows = await connection.fetch(
        "SELECT p.project, coalesce((SELECT v.position FROM collab.events AS v WHERE v.project = p.project"  # noqa: S608
        f" AND v.position > p.oldest AND v.at >= $1 ORDER BY v.position LIMIT 1) - 1, {NEWEST})"
        " FROM collab.projects AS p",
        before,
    )
    return [(project, cut) for project, cut in rows]
