"""Entities in SQLite, and declarations, webhooks and dead letters."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import astuple
from typing import Any

from collab.access.revocations import Revocation
from collab.names import RoomKey
from collab.storage.base import DeadLetter, EntityRow, Requested
from collab.storage.codec import encodable, event_from, from_json, to_json
from collab.storage.sqlite.statements import insert

COLUMNS = "project, collection, id, version, data, deleted, heads, content_seq"
"""Columns of ``entities``, in the order of :func:`entity_row`."""


def entity_row(
    project: str,
    collection: str,
    entity: str,
    version: int,
    data: str,
    deleted: int,
    heads: bytes,
    content_seq: int,
) -> EntityRow:
    """An entity from its columns. Raises :class:`msgspec.DecodeError` if they are damaged."""
    return EntityRow(RoomKey(project, collection, entity), version, from_json(data), bool(deleted), heads, content_seq)


def read_entity(connection: sqlite3.Connection, key: RoomKey) -> EntityRow | None:
    row = connection.execute(
        f"SELECT {COLUMNS} FROM entities WHERE project = ? AND collection = ? AND id = ?",  # noqa: S608
        key,
    ).fetchone()
    return None if row is None else entity_row(*row)


def read_children(connection: sqlite3.Connection, project: str, collection: str, prefix: str) -> list[EntityRow]:
    """The entities whose id begins with ``prefix``, deleted or not, by id."""
    rows = connection.execute(
        f"SELECT {COLUMNS} FROM entities WHERE project = ? AND collection = ? AND id >= ? AND id < ? ORDER BY id",  # noqa: S608
        (project, collection, prefix, prefix + "\U0010ffff"),
    )
    return [entity_row(*row) for row in rows]


def list_half_deleted(connection: sqlite3.Connection, collection: str, inside: str, limit: int) -> list[RoomKey]:
    """Deleted entities of ``collection`` with living entities of ``inside`` in them."""
    return [
        RoomKey(project, collection, entity)
        for project, entity in connection.execute(
            "SELECT project, id FROM entities AS e WHERE collection = ?1 AND deleted = 1 AND EXISTS ("
            "SELECT 1 FROM entities WHERE project = e.project AND collection = ?2"
            " AND id >= e.id || ':' AND id < e.id || ';' AND deleted = 0) LIMIT ?3",
            (collection, inside, limit),
        )
    ]


def find_eid(connection: sqlite3.Connection, key: RoomKey) -> int | None:
    """The row id of an entity, ``None`` if there is none."""
    row = connection.execute("SELECT eid FROM entities WHERE project = ? AND collection = ? AND id = ?", key).fetchone()
    return None if row is None else int(row[0])


def read_request(connection: sqlite3.Connection, project: str, caller: str, name: str) -> Requested | None:
    row = connection.execute(
        "SELECT e.project, e.collection, e.id, r.version, r.digest"
        " FROM requests AS r LEFT JOIN entities AS e USING (eid)"
        " WHERE r.project = ? AND r.caller = ? AND r.request = ?",
        (project, encodable(caller), name),
    ).fetchone()
    if row is None:
        return None
    return Requested(None if row[0] is None else RoomKey(*row[:3]), int(row[3]), bytes(row[4]))


def read_schemas(connection: sqlite3.Connection, project: str) -> dict[str, tuple[int, bytes]]:
    """The declared collections: name -> version, JSON."""
    rows: Iterable[tuple[str, int, bytes]] = connection.execute(
        "SELECT collection, version, content FROM schemas WHERE project = ? ORDER BY collection", (project,)
    )
    return {collection: (version, content) for collection, version, content in rows}


def write_schema(connection: sqlite3.Connection, project: str, collection: str, version: int, schema: bytes) -> None:
    connection.execute("INSERT OR REPLACE INTO schemas VALUES (?, ?, ?, ?)", (project, collection, version, schema))


def write_revocation(connection: sqlite3.Connection, revocation: Revocation, now: float) -> None:
    """Save a revocation, and forget those that ended."""
    connection.execute("DELETE FROM revocations WHERE kept_until <= ?", (now,))
    connection.execute(
        "INSERT INTO revocations VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
        " issued_before = max(issued_before, excluded.issued_before),"
        " kept_until = max(kept_until, excluded.kept_until)",
        astuple(revocation),
    )


def read_revocations(connection: sqlite3.Connection, now: float) -> list[Revocation]:
    """The revocations that are kept longer than ``now``."""
    rows = connection.execute(
        "SELECT project, kind, name, issued_before, kept_until FROM revocations WHERE kept_until > ?", (now,)
    )
    return [Revocation(*row) for row in rows]


def read_webhook(connection: sqlite3.Connection, webhook: str, project: str) -> int | None:
    """The position up to which a webhook has processed a project's events."""
    row = connection.execute(
        "SELECT position FROM webhooks WHERE name = ? AND project = ?", (webhook, project)
    ).fetchone()
    return None if row is None else int(row[0])


def write_webhook(
    connection: sqlite3.Connection, webhook: str, project: str, position: int, dead: Sequence[DeadLetter], keep: int
) -> None:
    """Save a webhook's position in a project, and the newest ``keep`` of its dead letters, each event once."""
    connection.execute("INSERT OR REPLACE INTO webhooks VALUES (?, ?, ?)", (webhook, project, position))
    if not dead:
        return
    rows: list[tuple[Any, ...]] = [
        (webhook, letter.project, to_json(letter.event), letter.reason, letter.at) for letter in dead
    ]
    known = set(
        connection.execute(
            "SELECT project, event FROM dead_letters WHERE webhook = ? AND event IN (SELECT value FROM json_each(?))",
            (webhook, to_json([row[2] for row in rows])),
        )
    )
    rows = [row for row in rows if row[1:3] not in known]
    insert(connection, "INSERT INTO dead_letters (webhook, project, event, reason, at)", rows)
    connection.execute(
        "DELETE FROM dead_letters WHERE webhook = ?1 AND number <="
        " (SELECT number FROM dead_letters WHERE webhook = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)",
        (webhook, keep),
    )


def read_dead_letters(connection: sqlite3.Connection, webhook: str) -> list[DeadLetter]:
    """Events that a webhook did not accept, oldest first."""
    rows = connection.execute(
        "SELECT webhook, event, project, reason, at FROM dead_letters WHERE webhook = ? ORDER BY number", (webhook,)
    )
    return [DeadLetter(name, event_from(event), project, reason, at) for name, event, project, reason, at in rows]
