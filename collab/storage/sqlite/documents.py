"""Current documents in SQLite: snapshot, log rows, set-aside entries. Every checksum is verified."""

from __future__ import annotations

import logging
import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from time import time
from typing import Any

from collab.errors import DocumentDamaged
from collab.names import RoomKey
from collab.storage.base import LogRow, Record, SetAside, Snapshot
from collab.storage.codec import seed
from collab.storage.sqlite.entities import read_entity
from collab.storage.sqlite.parts import read_parts
from collab.storage.sqlite.statements import moment

log = logging.getLogger(__name__)

_SMALL_BYTES, _SMALL_ROWS = 64 * 1024, 256


def load_small(connection: sqlite3.Connection, key: RoomKey) -> tuple[Record | None, list[SetAside]] | None:
    """:func:`load`, or ``None`` if that is no quick read: the document has too many rows or bytes."""
    rid = find_rid(connection, key)
    if rid is not None and not _is_small(connection, rid):
        return None
    return load(connection, key)


def _is_small(connection: sqlite3.Connection, rid: int) -> bool:
    """``length`` reads no content; a large snapshot is in a bundle."""
    snapshot = connection.execute(
        "SELECT seq, length(content) + length(gate), bundle IS NULL AND gate_bundle IS NULL"
        " FROM snapshots WHERE rid = ?",
        (rid,),
    ).fetchone()
    seq, size, in_one_row = snapshot or (0, 0, True)
    rows, more = connection.execute(
        "SELECT count(*), coalesce(sum(size), 0) FROM"
        " (SELECT length(content) AS size FROM log WHERE rid = ? AND seq > ? LIMIT ?)",
        (rid, seq, _SMALL_ROWS + 1),
    ).fetchone()
    return in_one_row and rows <= _SMALL_ROWS and size + more <= _SMALL_BYTES


def load(connection: sqlite3.Connection, key: RoomKey) -> tuple[Record | None, list[SetAside]]:
    """The record of a document, and its damaged rows that are still in the log."""
    if not connection.execute(_IS_KNOWN, key).fetchone()[0]:
        return None, []
    with moment(connection):
        entity = read_entity(connection, key)
        document = connection.execute(
            "SELECT rid, lineage FROM documents WHERE project = ? AND collection = ? AND id = ?", key
        ).fetchone()
        aside = read_set_aside(connection, "WHERE project = ? AND collection = ? AND id = ?", key)
        if document is None:
            return (Record(None, None, (), aside, entity), []) if aside or entity is not None else (None, [])
        rid, lineage = document
        stored = read_stored_snapshot(connection, rid)
        rows = read_log(connection, rid, 0 if stored is None else stored[0])
    snapshot = None if stored is None else open_snapshot(key, rid, *stored)
    good, damaged = check_rows(key, rid, rows)
    return Record(lineage, snapshot, good, [*aside, *damaged], entity), damaged


# most documents that are loaded for the first time are new: one statement says so instead of five
_IS_KNOWN = "SELECT " + " OR ".join(  # noqa: S608
    f"EXISTS (SELECT 1 FROM {table} WHERE project = ?1 AND collection = ?2 AND id = ?3)"  # noqa: S608
    for table in ("documents", "entities", "set_aside")
)


def find_rid(connection: sqlite3.Connection, key: RoomKey) -> int | None:
    """The row id of a document, ``None`` if there is none."""
    row = connection.execute(
        "SELECT rid FROM documents WHERE project = ? AND collection = ? AND id = ?", key
    ).fetchone()
    return None if row is None else int(row[0])


def read_snapshot_seq(connection: sqlite3.Connection, rid: int) -> int:
    """The last row that the snapshot of a document holds, 0 if there is none."""
    row = connection.execute("SELECT seq FROM snapshots WHERE rid = ?", (rid,)).fetchone()
    return 0 if row is None else int(row[0])


def read_stored_snapshot(connection: sqlite3.Connection, rid: int) -> tuple[int, object, object, int] | None:
    """The snapshot of a document as it is stored: its last row, content, gate and checksum."""
    row = connection.execute(
        "SELECT seq, content, gate, crc, bundle, gate_bundle FROM snapshots WHERE rid = ?", (rid,)
    ).fetchone()
    if row is None:
        return None
    seq, content, gate, crc, bundle, gate_bundle = row
    return seq, read_parts(connection, bundle, content), read_parts(connection, gate_bundle, gate), crc


def read_log(connection: sqlite3.Connection, rid: int, after: int = 0, to: int = 1 << 62) -> list[tuple[Any, ...]]:
    """Stored log rows after ``after``, up to and including ``to``."""
    return connection.execute(
        "SELECT seq, content, user_id, at, crc FROM log WHERE rid = ? AND seq > ? AND seq <= ? ORDER BY seq",
        (rid, after, to),
    ).fetchall()


def check_rows(key: RoomKey, rid: int, rows: Iterable[tuple[Any, ...]]) -> tuple[list[LogRow], list[SetAside]]:
    """Stored log rows: those that match their checksums, and the damaged ones."""
    good: list[LogRow] = []
    damaged: list[SetAside] = []
    for seq, content, user_id, at, crc in rows:
        if type(content) is bytes and zlib.crc32(content, seed(rid, seq)) == crc:
            good.append(LogRow(seq, content, user_id, at))
        else:
            kept = content if type(content) is bytes else str(content).encode()
            damaged.append(SetAside(key, seq, kept, "the row does not match its checksum", time()))
    return good, damaged


def open_snapshot(key: RoomKey, rid: int, seq: int, content: object, gate: object, crc: int) -> Snapshot:
    """Decode a stored snapshot. Raises :class:`DocumentDamaged`."""
    try:
        if (
            type(content) is bytes
            and type(gate) is bytes
            and zlib.crc32(gate, zlib.crc32(content, seed(rid, seq))) == crc
        ):
            return Snapshot(seq, zlib.decompress(content), zlib.decompress(gate))
    except zlib.error:
        pass
    log.error("the snapshot of %s (document %d, up to row %d) does not match its checksum", key, rid, seq)
    raise DocumentDamaged("the stored document is damaged and was not touched")


def read_set_aside(connection: sqlite3.Connection, where: str, values: Sequence[Any]) -> list[SetAside]:
    """Set-aside entries, oldest first."""
    rows = connection.execute(
        f"SELECT project, collection, id, seq, content, reason, at FROM set_aside {where} ORDER BY number",  # noqa: S608
        values,
    )
    return [
        SetAside(RoomKey(project, collection, entity_id), seq, content, reason, at)
        for project, collection, entity_id, seq, content, reason, at in rows
    ]


def write_set_aside(connection: sqlite3.Connection, entry: SetAside) -> None:
    """Keep ``entry`` once; if it names a log row, delete that from the log."""
    key = entry.key
    connection.execute(
        "INSERT INTO set_aside (project, collection, id, seq, content, reason, at)"
        " SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE NOT EXISTS (SELECT 1 FROM set_aside"
        "  WHERE project = ?1 AND collection = ?2 AND id = ?3 AND seq IS ?4 AND content = ?5)",
        (*key, entry.seq, entry.update, entry.reason.encode("utf-8", "replace").decode(), entry.at),
    )
    connection.execute(
        "DELETE FROM log WHERE seq = ?4 AND rid ="
        " (SELECT rid FROM documents WHERE project = ?1 AND collection = ?2 AND id = ?3)",
        (*key, entry.seq),
    )


def list_uncovered(connection: sqlite3.Connection, limit: int) -> list[RoomKey]:
    """Documents whose log goes beyond their events, longest waiting first."""
    rows = connection.execute(
        "SELECT project, collection, id FROM uncovered JOIN documents USING (rid) ORDER BY number LIMIT ?", (limit,)
    )
    return [RoomKey(*row) for row in rows]
