"""The stream of events in SQLite, versions of an entity, and forgetting both."""

from __future__ import annotations

import sqlite3
from typing import Any

from collab.dates import iso
from collab.errors import NotFound
from collab.event import EntityEvent
from collab.names import RoomKey
from collab.storage.base import Positions, Version
from collab.storage.codec import conflicts_from, from_json
from collab.storage.sqlite_documents import moment
from collab.storage.sqlite_entities import find_eid

_COLUMNS = "e.project, v.seq, v.position, v.type, e.collection, e.id, v.version, v.data, v.changes, v.user_id, v.at"
_STREAM = f"SELECT {_COLUMNS}, v.conflicts FROM events AS v CROSS JOIN entities AS e USING (eid)"  # noqa: S608
_EVENTS = f"SELECT {_COLUMNS}, v.conflicts FROM entities AS e CROSS JOIN events AS v USING (eid)"  # noqa: S608
_SLICE = 1000  # positions, or requests, forgotten at once, before the next commit has its turn


def read_positions(connection: sqlite3.Connection) -> Positions:
    """Which events are known."""
    epoch, oldest, newest = connection.execute(
        "SELECT (SELECT value FROM record WHERE name = 'epoch'), (SELECT value FROM record WHERE name = 'oldest'),"
        " (SELECT max(position) FROM events)"
    ).fetchone()
    return Positions(epoch, oldest, max(newest or 0, oldest))


def read_events(
    connection: sqlite3.Connection,
    after: int,
    limit: int,
    project: str | None,
    collection: str | None,
    entity: str | None,
) -> list[tuple[str, EntityEvent]]:
    """Events behind a position, by position."""
    conditions, values = ["v.position > ?"], [after]
    where: list[tuple[str, Any]] = [("e.project", project), ("e.collection", collection), ("e.id", entity)]
    conditions += [f"{column} = ?" for column, value in where if value is not None]
    # events of one entity are found by it, all others in the order of positions
    joined = _STREAM if None in (project, collection, entity) else _EVENTS
    rows = connection.execute(
        f"{joined} WHERE {' AND '.join(conditions)} ORDER BY v.position LIMIT ?",
        (*values, *(value for _, value in where if value is not None), limit),
    )
    return [(row[0], _version(*row).event) for row in rows]


def read_history(connection: sqlite3.Connection, key: RoomKey, before: int | None, limit: int) -> list[Version]:
    """Versions of one entity below ``before``, the newest first."""
    rows = connection.execute(
        f"{_EVENTS} WHERE e.project = ? AND e.collection = ? AND e.id = ? AND v.version < ?"
        " ORDER BY v.version DESC LIMIT ?",
        (*key, before if before is not None else 1 << 62, limit),
    )
    return [_version(*row) for row in rows]


def read_version(connection: sqlite3.Connection, key: RoomKey, *, version: int | None, at: float | None) -> Version:
    """One version, the newest of a moment, or the newest. Raises :class:`NotFound`."""
    eid = find_eid(connection, key)
    condition, value = ("v.version = ?", version) if version is not None else ("v.at <= ?", at)
    row = connection.execute(
        f"{_EVENTS} WHERE v.eid = ? AND {condition} ORDER BY v.version DESC LIMIT 1",
        (eid, value if value is not None else float("inf")),
    ).fetchone()
    if row is None:
        raise NotFound("there was no such version, or it is not kept any more")
    return _version(*row)


def _version(
    project: str,
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
        iso(at),
        conflicts_from(conflicts),
    )
    return Version(event, seq)


# forgetting


def read_cut(connection: sqlite3.Connection, before: float) -> int:
    """The last of the known events that are followed by no older ones, and are from before a moment themselves."""
    with moment(connection):
        _, oldest, newest = read_positions(connection)
        row = connection.execute(
            "SELECT position FROM events WHERE position > ? AND at >= ? ORDER BY position LIMIT 1", (oldest, before)
        ).fetchone()
    return newest if row is None else row[0] - 1


def cut_events(connection: sqlite3.Connection, cut: int) -> bool:
    """Forget some of the events up to ``cut``; what an entity was then stays. Returns whether there are more."""
    (oldest,) = connection.execute("SELECT value FROM record WHERE name = 'oldest'").fetchone()
    if oldest >= cut:
        return False
    to = min(oldest + _SLICE, cut)
    # each event that becomes too old takes the one before it along
    connection.execute(
        "DELETE FROM events WHERE position IN (SELECT o.position FROM events AS v CROSS JOIN events AS o"
        " ON o.eid = v.eid AND o.version = v.version - 1 WHERE v.position > ? AND v.position <= ?)",
        (oldest, to),
    )
    connection.execute("UPDATE record SET value = ? WHERE name = 'oldest'", (to,))
    return bool(to < cut)


def cut_requests(connection: sqlite3.Connection, before: float) -> bool:
    """Forget some of the named requests from before a moment. Returns whether there are more."""
    cursor = connection.execute(
        "DELETE FROM requests WHERE number IN (SELECT number FROM requests WHERE at < ? LIMIT ?)", (before, _SLICE)
    )
    return cursor.rowcount == _SLICE
