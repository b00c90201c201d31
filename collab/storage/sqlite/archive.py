"""The history of documents in SQLite: packed log rows that a snapshot replaced, and earlier snapshots.

The pieces of an archive have no gaps, from the first row or from a base up to the snapshot. A base is an earlier
snapshot that was kept: where no piece precedes it, and whenever the archive after the last base has grown larger than
the snapshot. So bases take no more room than the archive, and reading a version takes a snapshot and about as many
bytes of log. The archive is cut only before a base or before the snapshot itself: older rows stay until there is one.
Rows behind a snapshot may still be in the log (:mod:`collab.storage.sqlite.moving`): they follow the archive.
"""

from __future__ import annotations

import logging
import sqlite3
import zlib
from collections.abc import Sequence
from typing import NamedTuple

from collab.errors import DocumentDamaged, NotFound
from collab.names import RoomKey
from collab.storage.base import LogRow
from collab.storage.codec import Piece, seed, unpack_rows
from collab.storage.sqlite.documents import (
    check_rows,
    find_rid,
    open_snapshot,
    read_log,
    read_snapshot_seq,
    read_stored_snapshot,
)
from collab.storage.sqlite.parts import read_parts
from collab.storage.sqlite.slices import SLICE_BYTES, delete_slice
from collab.storage.sqlite.statements import moment

log = logging.getLogger(__name__)

_DOCUMENTS = 100  # looked at per transaction


class NewBase(NamedTuple):
    """The present snapshot is to be a base: its ``seq``, and the checksum of its content alone."""

    seq: int
    crc: int


def keep(connection: sqlite3.Connection, rid: int, pieces: Sequence[Piece]) -> None:
    """Archive packed rows."""
    connection.executemany(
        "INSERT INTO archive (rid, from_seq, to_seq, from_at, to_at, content, crc) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(rid, one.from_seq, one.to_seq, one.from_at, one.to_at, one.content, _checksum(rid, one)) for one in pieces],
    )


def _checksum(rid: int, piece: Piece) -> int:
    return zlib.crc32(piece.content, seed(rid, piece.to_seq))


def look_for_base(connection: sqlite3.Connection, rid: int) -> NewBase | None:
    """Whether the present snapshot should become a base when another takes its place. Reads only.

    All of the log behind it has been moved.
    """
    with moment(connection):
        row = connection.execute(
            "SELECT seq, content, gate, crc, bundle, gate_bundle FROM snapshots WHERE rid = ?", (rid,)
        ).fetchone()
        if row is None:
            return None
        start, content, gate, crc, bundle, gate_bundle = row
        joined = connection.execute("SELECT 1 FROM archive WHERE rid = ? AND to_seq = ?", (rid, start)).fetchone()
        weight, size = connection.execute(
            "SELECT coalesce(sum(length(content)), 0),"
            " (SELECT coalesce(sum(length(content)), ?2) FROM parts WHERE bundle = ?3) FROM archive"
            " WHERE rid = ?1 AND to_seq > coalesce((SELECT max(seq) FROM bases WHERE rid = ?1), 0)",
            (rid, len(content), bundle),
        ).fetchone()
        if joined is not None and weight < size:
            return None
        content, gate = read_parts(connection, bundle, content), read_parts(connection, gate_bundle, gate)
    if type(content) is bytes and type(gate) is bytes:
        own = zlib.crc32(content, seed(rid, start))
        if zlib.crc32(gate, own) == crc:
            return NewBase(start, own)
    log.error("the snapshot of document %d up to row %d does not match its checksum", rid, start)
    return None


def keep_base(connection: sqlite3.Connection, rid: int, base: NewBase) -> None:
    """Keep the present snapshot as a base, in the parts that it has."""
    connection.execute(
        "INSERT OR REPLACE INTO bases (rid, seq, content, crc, bundle)"
        " SELECT rid, seq, content, ?, bundle FROM snapshots WHERE rid = ? AND seq = ?",
        (base.crc, rid, base.seq),
    )


def cut(connection: sqlite3.Connection, rid: int, before: float) -> int:
    """Delete some of what precedes the newest base or snapshot that is older than ``before``.

    Returns the bytes deleted, 0 if nothing is left to delete. Oldest pieces go first: what was deleted in part is no
    version of the document, because its pieces do not join.
    """
    starts = connection.execute(
        "SELECT seq FROM bases WHERE rid = ?1 UNION SELECT seq FROM snapshots WHERE rid = ?1 ORDER BY seq DESC", (rid,)
    ).fetchall()
    for (start,) in starts:
        (newest,) = connection.execute(
            "SELECT max(to_at) FROM archive WHERE rid = ? AND to_seq <= ?", (rid, start)
        ).fetchone()
        if newest is None:
            return 0
        if newest < before:
            spent = delete_slice(connection, "bases", rid, start - 1)
            if spent:
                connection.execute(
                    "INSERT OR IGNORE INTO unfinished SELECT rid, seq FROM snapshots WHERE rid = ?", (rid,)
                )  # for the parts of the bases
            return spent or delete_slice(connection, "archive", rid, start)
    return 0


def cut_some(connection: sqlite3.Connection, before: float, after: int) -> int | None:
    """:func:`cut` some documents with a row id above ``after``. Returns where to continue, ``None`` at the end."""
    rids = connection.execute(
        "SELECT DISTINCT rid FROM archive WHERE rid > ? AND to_at < ? ORDER BY rid LIMIT ?",
        (after, before, _DOCUMENTS),
    ).fetchall()
    total = 0
    for (rid,) in rids:
        while spent := cut(connection, rid, before):
            total += spent
            if total >= SLICE_BYTES:
                return int(rid) - 1
    return rids[-1][0] if len(rids) == _DOCUMENTS else None


def read_moved(connection: sqlite3.Connection, rid: int) -> int:
    """The row up to which the log has been moved to the history."""
    row = connection.execute("SELECT moved FROM unfinished WHERE rid = ?", (rid,)).fetchone()
    return read_snapshot_seq(connection, rid) if row is None else int(row[0])


# reading


def read_document(connection: sqlite3.Connection, key: RoomKey, seq: int) -> list[bytes]:
    """The updates of a document's state after log row ``seq``. Raises :class:`NotFound`."""
    with moment(connection):
        rid = find_rid(connection, key)
        if seq <= 0:
            return []
        if rid is None or seq > _last_seq(connection, key, rid):
            raise NotFound("the document never had that log row")
        moved = read_moved(connection, rid)
        snapshot = base = None
        if 0 < read_snapshot_seq(connection, rid) <= seq:
            snapshot = read_stored_snapshot(connection, rid)
        else:
            base = _read_base(connection, rid, seq)
        start = (snapshot or base or (0,))[0]
        pieces = _pieces(connection, rid, start, seq)
        rows = read_log(connection, rid, start, seq)
    updates: list[bytes] = []
    if snapshot is not None:
        updates.append(open_snapshot(key, rid, *snapshot).update)
    elif base is not None:
        updates.append(_open(key, rid, *base))
    reach = start
    for from_seq, to_seq, content, crc in pieces:
        if from_seq != reach + 1:
            break
        updates += [row.update for row in _unpack(key, rid, to_seq, content, crc) if row.seq <= seq]
        reach = to_seq
    if reach < min(seq, moved):
        raise NotFound("that version of the document is no longer stored")
    return updates + [row.update for row in check_rows(key, rid, rows)[0]]


def read_log_after(connection: sqlite3.Connection, key: RoomKey, seq: int) -> list[LogRow]:
    """Log rows after ``seq``, including archived ones."""
    with moment(connection):
        rid = find_rid(connection, key)
        if rid is None:
            return []
        pieces = _pieces(connection, rid, seq, 1 << 62)
        rows = read_log(connection, rid, seq)
    archived = [
        row for _, to_seq, content, crc in pieces for row in _unpack(key, rid, to_seq, content, crc) if row.seq > seq
    ]
    return archived + check_rows(key, rid, rows)[0]


def last_at(connection: sqlite3.Connection, key: RoomKey, at: float) -> int:
    """The newest log row written by a time, 0 if none is known."""
    rid = find_rid(connection, key)
    if rid is None:
        return 0
    (seq,) = connection.execute("SELECT max(seq) FROM log WHERE rid = ? AND at <= ?", (rid, at)).fetchone()
    if seq is not None:
        return int(seq)
    pieces = connection.execute(
        "SELECT to_seq, content, crc FROM archive WHERE rid = ? AND from_at <= ? ORDER BY to_seq DESC", (rid, at)
    )
    for to_seq, content, crc in pieces:
        for row in reversed(_unpack(key, rid, to_seq, content, crc)):
            if row.at <= at:
                return row.seq
    return 0


def _read_base(connection: sqlite3.Connection, rid: int, seq: int) -> tuple[int, object, int] | None:
    """The newest base up to row ``seq``: its row, content and checksum."""
    found = connection.execute(
        "SELECT seq, content, crc, bundle FROM bases WHERE rid = ? AND seq <= ? ORDER BY seq DESC LIMIT 1", (rid, seq)
    ).fetchone()
    if found is None:
        return None
    start, content, crc, bundle = found
    return start, read_parts(connection, bundle, content), crc


def _last_seq(connection: sqlite3.Connection, key: RoomKey, rid: int) -> int:
    (seq,) = connection.execute(
        "SELECT max(coalesce((SELECT max(seq) FROM log WHERE rid = ?1), 0),"
        " coalesce((SELECT seq FROM snapshots WHERE rid = ?1), 0),"
        " coalesce((SELECT max(seq) FROM set_aside WHERE project = ?2 AND collection = ?3 AND id = ?4), 0))",
        (rid, *key),
    ).fetchone()
    return int(seq)


def _pieces(connection: sqlite3.Connection, rid: int, after: int, to: int) -> list[tuple[int, int, object, int]]:
    return connection.execute(
        "SELECT from_seq, to_seq, content, crc FROM archive WHERE rid = ? AND to_seq > ? AND from_seq <= ?"
        " ORDER BY to_seq",
        (rid, after, to),
    ).fetchall()


def _unpack(key: RoomKey, rid: int, seq: int, content: object, crc: int) -> list[LogRow]:
    return unpack_rows(_verified(key, rid, seq, content, crc))


def _open(key: RoomKey, rid: int, seq: int, content: object, crc: int) -> bytes:
    return zlib.decompress(_verified(key, rid, seq, content, crc))


def _verified(key: RoomKey, rid: int, seq: int, content: object, crc: int) -> bytes:
    if type(content) is bytes and zlib.crc32(content, seed(rid, seq)) == crc:
        return content
    log.error("the history of %s (document %d, up to row %d) does not match its checksum", key, rid, seq)
    raise DocumentDamaged("the stored history of the document is damaged and was not touched")
