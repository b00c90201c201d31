"""The stream of events in SQLite, versions of entities, and the deletion of old ones."""

from __future__ import annotations

import sqlite3
from typing import Any

from collab.dates import iso_micros
from collab.errors import NotFound
from collab.event import EntityEvent
from collab.names import RoomKey
from collab.storage.base import Version
from collab.storage.codec import conflicts_from, from_json
from collab.storage.sqlite.entities import find_eid
from collab.storage.sqlite.positions import NEWEST
from collab.storage.sqlite.slices import SLICE_BYTES

_COLUMNS = "v.seq, v.position, v.type, e.collection, e.id, v.version, v.data, v.changes, v.user_id, v.at"
_STREAM = f"SELECT {_COLUMNS}, v.conflicts FROM events AS v CROSS JOIN entities AS e USING (eid)"  # noqa: S608
_EVENTS = f"SELECT {_COLUMNS}, v.conflicts FROM entities AS e CROSS JOIN events AS v USING (eid)"  # noqa: S608
_SLICE = 1000  # events or requests deleted per transaction, so that commits go in between


def read_events(
    connection: sqlite3.Connection, project: str, after: int, limit: int, collection: str | None, entity: str | None
) -> list[EntityEvent]:
    where: list[tuple[str, Any]] = [("v.project", project), ("e.collection", collection), ("e.id", entity)]
    conditions = [f"{column} = ?" for column, value in where if value is not None]
    # events of one entity are found through it, all others in the order of positions
    joined = _STREAM
    if collection is not None and entity is not None:
        joined, conditions[0] = _EVENTS, "e.project = ?"
    rows = connection.execute(
        f"{joined} WHERE {' AND '.join(conditions)} AND v.position > ? ORDER BY v.position LIMIT ?",
        (*(value for _, value in where if value is not None), after, limit),
    )
    return [_version(*row).event for row in rows]


def read_history(connection: sqlite3.Connection, key: RoomKey, before: int | None, limit: int) -> list[Version]:
    rows = connection.execute(
        f"{_EVENTS} WHERE e.project = ? AND e.collection = ? AND e.id = ? AND v.version < ?"
        " ORDER BY v.version DESC LIMIT ?",
        (*key, before if before is not None else 1 << 62, limit),
    )
    return [_version(*row) for row in rows]


def read_version(connection: sqlite3.Connection, key: RoomKey, *, version: int | None, at: float | None) -> Version:
    """One version, the newest at a time, or the newest of all. Raises :class:`NotFound`."""
    eid = find_eid(connection, key)
    condition, value = ("v.version = ?", version) if version is not None else ("v.at <= ?", at)
    row = connection.execute(
        f"{_EVENTS} WHERE v.eid = ? AND {condition} ORDER BY v.version DESC LIMIT 1",
        (eid, value if value is not None else float("inf")),
    ).fetchone()
    if row is None:
        raise NotFound("there was no such version, or it is no longer stored")
    return _version(*row)


def _version(
    seq: int,
    position: int,
    kind: Any,
    collection: str,
    entity: str,
    version: int,
    data: str,
    changes: str,
    user_id: str | None,
    at: float,
    conflicts: str | None,
) -> Version:
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


# deletion of old events


def read_cuts(connection: sqlite3.Connection, before: float) -> list[tuple[str, int]]:
    """For each project: the newest position such that it and everything before it is older than ``before``."""
    return connection.execute(
        "SELECT project, coalesce((SELECT v.position FROM events AS v WHERE v.project = p.project"  # noqa: S608
        f" AND v.position > p.oldest AND v.at >= ? ORDER BY v.position LIMIT 1) - 1, {NEWEST}) FROM projects AS p",
        (before,),
    ).fetchall()


def cut_events(connection: sqlite3.Connection, project: str, cut: int) -> bool:
    """Delete some of a project's events up to ``cut``, except each entity's last. Returns whether more are left."""
    (oldest,) = connection.execute("SELECT oldest FROM projects WHERE project = ?", (project,)).fetchone()
    if oldest >= cut:
        return False
    (to,) = connection.execute(
        "SELECT max(position) FROM (SELECT position, sum(size) OVER (ORDER BY position) - size AS before FROM ("
        "SELECT v.position, coalesce(length(o.data) + length(o.changes), 0) AS size FROM events AS v"
        " LEFT JOIN events AS o ON o.eid = v.eid AND o.version = v.version - 1"
        " WHERE v.project = ? AND v.position > ? AND v.position <= ? ORDER BY v.position LIMIT ?)) WHERE before < ?",
        (project, oldest, cut, _SLICE, SLICE_BYTES),
    ).fetchone()
    if to is None:  # the rest was erased
        to = cut
    # each event that becomes too old makes the one before it superfluous
    connection.execute(
        "DELETE FROM events WHERE project = ?1 AND position IN"
        " (SELECT o.position FROM events AS v CROSS JOIN events AS o ON o.eid = v.eid AND o.version = v.version - 1"
        "  WHERE v.project = ?1 AND v.position > ?2 AND v.position <= ?3)",
        (project, oldest, to),
    )
    connection.execute("UPDATE projects SET oldest = ? WHERE project = ?", (to, project))
    return bool(to < cut)


def cut_requests(connection: sqlite3.Connection, before: float) -> bool:
    """Delete some of the named requests from before a time. Returns whether more are left."""
    cursor = connection.execute(
        "DELETE FROM requests WHERE number IN (SELECT number FROM requests WHERE at < ? LIMIT ?)", (before, _SLICE)
    )
    return cursor.rowcount == _SLICE
