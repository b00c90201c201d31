"""Erasure in SQLite: no table keeps anything of an entity, and its bytes are overwritten (``secure_delete``)."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from collab.names import RoomKey
from collab.storage.sqlite.documents import find_rid
from collab.storage.sqlite.entities import find_eid
from collab.storage.sqlite.positions import read_newest_at


def erase(connection: sqlite3.Connection, keys: Sequence[RoomKey]) -> None:
    """Delete all rows about these entities and their documents. Assigned positions and times stay assigned."""
    for project in {key.project for key in keys}:
        connection.execute(
            "UPDATE projects SET newest = max(newest, coalesce("
            "(SELECT max(position) FROM events WHERE events.project = projects.project), 0)) WHERE project = ?",
            (project,),
        )
    connection.execute("INSERT OR REPLACE INTO record VALUES ('newest_at', ?)", (read_newest_at(connection),))
    for key in keys:
        rid, eid = find_rid(connection, key), find_eid(connection, key)
        for table in ("log", "snapshots", "archive", "bases", "uncovered", "documents"):
            connection.execute(f"DELETE FROM {table} WHERE rid = ?", (rid,))  # noqa: S608 - names of tables
        for table in ("events", "requests", "entities"):
            connection.execute(f"DELETE FROM {table} WHERE eid = ?", (eid,))  # noqa: S608 - names of tables
        connection.execute("DELETE FROM set_aside WHERE project = ? AND collection = ? AND id = ?", key)
        connection.execute(
            "DELETE FROM dead_letters WHERE project = ?"
            " AND json_extract(event, '$.collection') = ? AND json_extract(event, '$.id') = ?",
            key,
        )


def list_expired(connection: sqlite3.Connection, before: float, limit: int) -> list[RoomKey]:
    """Entities that were deleted before this time."""
    return [
        RoomKey(*row)
        for row in connection.execute(
            "SELECT project, collection, id FROM entities WHERE deleted = 1 AND updated_at < ? LIMIT ?", (before, limit)
        )
    ]
