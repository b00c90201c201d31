"""Storing a snapshot and moving the log behind it to the history, in transactions of bounded size.

First a row in ``unfinished`` says that there is work; then come the parts of the snapshot; then, in one transaction,
the snapshot takes the place of the log for whoever loads the document; then the rows behind it move to the history, the
oldest first. Each transaction leaves a state in which every document and version reads the same, so that the process
may end between any two of them: what is left is finished by the next snapshot, by a trim, or after the next start.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from collab.names import RoomKey
from collab.storage.base import SetAside
from collab.storage.codec import Piece, pack_pieces, seed
from collab.storage.sqlite import archive, documents
from collab.storage.sqlite.documents import check_rows, find_rid, read_set_aside, read_snapshot_seq
from collab.storage.sqlite.slices import SLICE_BYTES, SLICE_ROWS, delete_slice
from collab.storage.sqlite.statements import moment


@dataclass(frozen=True, slots=True)
class NewSnapshot:
    """A snapshot for :func:`store`: contents that are not in bundles, and the checksum of both together."""

    seq: int
    content: bytes
    bundle: int | None
    gate: bytes
    gate_bundle: int | None
    crc: int


@dataclass(frozen=True, slots=True)
class Packed:
    """``count`` log rows after row ``moved`` up to row ``to``, packed for the history."""

    moved: int
    to: int
    count: int
    pieces: Sequence[Piece]
    damaged: Sequence[SetAside]


def checksum(rid: int, seq: int, content: bytes, gate: bytes) -> int:
    """The checksum of a snapshot."""
    return zlib.crc32(gate, zlib.crc32(content, seed(rid, seq)))


def begin(connection: sqlite3.Connection, rid: int) -> None:
    """Note that there is something to do for a document, until :func:`end`."""
    connection.execute(
        "INSERT OR IGNORE INTO unfinished SELECT ?1, coalesce((SELECT seq FROM snapshots WHERE rid = ?1), 0)", (rid,)
    )


def end(connection: sqlite3.Connection, rid: int) -> None:
    """Everything is done for a document."""
    connection.execute("DELETE FROM unfinished WHERE rid = ?", (rid,))


def list_unfinished(connection: sqlite3.Connection) -> list[tuple[int, RoomKey]]:
    rows = connection.execute("SELECT rid, project, collection, id FROM unfinished JOIN documents USING (rid)")
    return [(rid, RoomKey(*key)) for rid, *key in rows]


def store(connection: sqlite3.Connection, rid: int, new: NewSnapshot, base: archive.NewBase | None) -> None:
    """Make ``new`` the snapshot, and the one that it replaces a base if ``base`` says so."""
    if base is not None and base.seq < new.seq:
        archive.keep_base(connection, rid, base)
    connection.execute(
        "INSERT OR REPLACE INTO snapshots (rid, seq, content, gate, crc, bundle, gate_bundle)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (rid, new.seq, new.content, new.gate, new.crc, new.bundle, new.gate_bundle),
    )


def pack(connection: sqlite3.Connection, key: RoomKey) -> Packed | None:
    """Pack the next rows to be moved, ``None`` if there are none. Reads only."""
    with moment(connection):
        rid = find_rid(connection, key)
        if rid is None:
            return None
        moved, seq = archive.read_moved(connection, rid), read_snapshot_seq(connection, rid)
        if moved >= seq:
            return None
        return pack_rows(connection, key, rid, moved, seq)


def pack_rows(connection: sqlite3.Connection, key: RoomKey, rid: int, moved: int, seq: int) -> Packed:
    """Pack the next rows after ``moved``, up to ``seq`` at most. Reads only."""
    rows, to = _next_rows(connection, rid, moved, seq)
    aside = read_set_aside(
        connection,
        "WHERE project = ? AND collection = ? AND id = ? AND seq > ? AND seq <= ?",
        (*key, moved, to),
    )
    good, damaged = check_rows(key, rid, rows)
    return Packed(moved, to, len(rows), pack_pieces(good, [*aside, *damaged], moved, to), damaged)


def _next_rows(connection: sqlite3.Connection, rid: int, moved: int, seq: int) -> tuple[list[tuple[object, ...]], int]:
    """The next rows and the last ``seq`` that they stand for: that of the last one, or ``seq`` if they are all."""
    rows: list[tuple[object, ...]] = []
    size = 0
    cursor = connection.execute(
        "SELECT seq, content, user_id, at, crc FROM log WHERE rid = ? AND seq > ? AND seq <= ? ORDER BY seq",
        (rid, moved, seq),
    )
    for row in cursor:
        own = len(row[1]) if type(row[1]) is bytes else 0
        if rows and (size + own > SLICE_BYTES or len(rows) == SLICE_ROWS):
            return rows, int(rows[-1][0])  # type: ignore[call-overload]
        rows.append(row)
        size += own
    return rows, seq


def keep(connection: sqlite3.Connection, rid: int, packed: Packed) -> bool:
    """Move packed rows to the history. Returns ``False`` if they are not in the log any more as they were."""
    if archive.read_moved(connection, rid) != packed.moved:
        return False
    (count,) = connection.execute(
        "SELECT count(*) FROM log WHERE rid = ? AND seq > ? AND seq <= ?", (rid, packed.moved, packed.to)
    ).fetchone()
    if count != packed.count:
        return False
    for damaged in packed.damaged:
        documents.write_set_aside(connection, damaged)
    archive.keep(connection, rid, packed.pieces)
    connection.execute("DELETE FROM log WHERE rid = ? AND seq <= ?", (rid, packed.to))
    connection.execute("UPDATE unfinished SET moved = ? WHERE rid = ?", (packed.to, rid))
    return True


def drop(connection: sqlite3.Connection, rid: int) -> int:
    """Delete some of the log behind the snapshot, or of the history. Returns the bytes, 0 if there was nothing."""
    seq = read_snapshot_seq(connection, rid)
    connection.execute("UPDATE unfinished SET moved = ?2 WHERE rid = ?1 AND moved < ?2", (rid, seq))
    return (
        delete_slice(connection, "log", rid, seq)
        or delete_slice(connection, "archive", rid)
        or delete_slice(connection, "bases", rid)
    )
