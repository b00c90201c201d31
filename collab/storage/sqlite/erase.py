"""Erasure in SQLite: no table keeps anything of an entity, and its bytes are overwritten (``secure_delete``).

One transaction makes the entities and their documents unknown and lists them in ``erasing``; others delete their rows.
The names of requests that wrote them stay for their day, without anything else, so that no request is made again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from collab.names import RoomKey
from collab.storage.sqlite.documents import find_rid
from collab.storage.sqlite.entities import find_eid
from collab.storage.sqlite.positions import read_newest_at
from collab.storage.sqlite.search import forget_text, merge_all
from collab.storage.sqlite.slices import change_numbered, delete_slice

_OF_DOCUMENT = ("log", "snapshots", "archive", "bases", "parts")


class Erased(NamedTuple):
    """A document and an entity of which there may still be rows."""

    number: int
    rid: int | None
    eid: int | None
    key: RoomKey


def make_unknown(connection: sqlite3.Connection, keys: Sequence[RoomKey]) -> None:
    """Delete what these entities and their documents are found by. Assigned positions and times stay assigned."""
    for project in {key.project for key in keys}:
        connection.execute(
            "UPDATE projects SET newest = max(newest, coalesce("
            "(SELECT max(position) FROM events WHERE events.project = projects.project), 0)) WHERE project = ?",
            (project,),
        )
    connection.execute("INSERT OR REPLACE INTO record VALUES ('newest_at', ?)", (read_newest_at(connection),))
    for key in keys:
        rid, eid = find_rid(connection, key), find_eid(connection, key)
        connection.execute(
            "INSERT INTO erasing (rid, eid, project, collection, id) VALUES (?, ?, ?, ?, ?)", (rid, eid, *key)
        )
        for table in ("documents", "uncovered", "unfinished"):
            connection.execute(f"DELETE FROM {table} WHERE rid = ?", (rid,))  # noqa: S608 - names of tables
        if eid is not None:
            forget_text(connection, eid)
        connection.execute("DELETE FROM entities WHERE eid = ?", (eid,))
        connection.execute("DELETE FROM set_aside WHERE project = ? AND collection = ? AND id = ?", key)


def list_erased(connection: sqlite3.Connection) -> list[Erased]:
    """What is still to be deleted."""
    rows = connection.execute("SELECT number, rid, eid, project, collection, id FROM erasing ORDER BY number")
    return [Erased(number, rid, eid, RoomKey(*key)) for number, rid, eid, *key in rows]


def erase_rows(connection: sqlite3.Connection, erased: Erased) -> Iterator[None]:
    """Delete what there is of one of them. Each step is for a transaction of its own."""
    number, rid, eid, key = erased
    for table in _OF_DOCUMENT:
        while delete_slice(connection, table, rid):
            yield
    while delete_slice(connection, "events", eid):
        yield
    in_event = "project = ? AND json_extract(event, '$.collection') = ? AND json_extract(event, '$.id') = ?"
    for table, change, where, values in (
        ("requests", "UPDATE requests SET eid = 0, digest = x''", "eid = ?", (eid,)),
        ("dead_letters", "DELETE FROM dead_letters", in_event, (*key,)),
    ):
        last = 0
        while (reached := change_numbered(connection, table, change, last, where, values)) is not None:
            last = reached
            yield
    yield from merge_all(connection)
    connection.execute("DELETE FROM erasing WHERE number = ?", (number,))


def list_expired(connection: sqlite3.Connection, before: float, limit: int) -> list[RoomKey]:
    """Entities that were deleted before this time."""
    return [
        RoomKey(*row)
        for row in connection.execute(
            "SELECT project, collection, id FROM entities WHERE deleted = 1 AND updated_at < ? LIMIT ?", (before, limit)
        )
    ]
