"""The history of documents in SQLite: packed log rows that a snapshot replaced, and earlier snapshots.

The pieces of an archive have no gaps, from the first row or from a base up to the snapshot. A base is an earlier
snapshot that was kept: where no piece precedes it, and whenever the archive after the last base has grown larger than
the snapshot. So bases take no more room than the archive, and reading a version takes a snapshot and about as many
bytes of log. The archive is cut only before a base or before the snapshot itself: older rows stay until there is one.
"""

from __future__ import annotations

import logging
import sqlite3
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from collab.errors import DocumentDamaged, NotFound
from collab.names import RoomKey
from collab.storage.base import LogRow, SetAside
from collab.storage.codec import Piece, pack_pieces, seed, unpack_rows
from collab.storage.sqlite.documents import check_rows, find_rid, open_snapshot, read_log, read_set_aside
from collab.storage.sqlite.statements import moment

log = logging.getLogger(__name__)

_SLICE = 100  # documents cut per transaction, so that commits go in between


@dataclass(frozen=True, slots=True)
class Packed:
    """Data to archive: ``count`` log rows after snapshot ``start``, in pieces."""

    rid: int
    start: int
    count: int
    pieces: Sequence[Piece]
    damaged: Sequence[SetAside]
    newest: float  # time of the last row


def pack(connection: sqlite3.Connection, key: RoomKey, seq: int) -> Packed | None:
    """Pack the log up to row ``seq``; ``None`` if there is no such document. Reads only."""
    with moment(connection):
        rid = find_rid(connection, key)
        if rid is None:
            return None
        start = _snapshot_seq(connection, rid)
        rows = read_log(connection, rid, 0, seq)
        aside = read_set_aside(connection, "WHERE project = ? AND collection = ? AND id = ?", key)
    good, damaged = check_rows(key, rid, rows)
    pieces = pack_pieces(good, [*aside, *damaged], start, seq)
    return Packed(rid, start, len(rows), pieces, damaged, max((row.at for row in good), default=0.0))


def is_current(connection: sqlite3.Connection, packed: Packed, seq: int) -> bool:
    """Whether the log up to ``seq`` is still the one that was packed."""
    (count,) = connection.execute("SELECT count(*) FROM log WHERE rid = ? AND seq <= ?", (packed.rid, seq)).fetchone()
    return packed.start == _snapshot_seq(connection, packed.rid) and packed.count == count


def keep(connection: sqlite3.Connection, packed: Packed, seq: int) -> None:
    """Archive the packed rows; the snapshot that is about to be replaced may become a base."""
    rid, start = packed.rid, packed.start
    if seq <= start:
        return
    if start:
        _keep_base(connection, rid, start)
    connection.executemany(
        "INSERT INTO archive (rid, from_seq, to_seq, from_at, to_at, content, crc) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (rid, one.from_seq, one.to_seq, one.from_at, one.to_at, one.content, _checksum(rid, one))
            for one in packed.pieces
        ],
    )


def _checksum(rid: int, piece: Piece) -> int:
    return zlib.crc32(piece.content, seed(rid, piece.to_seq))


def _keep_base(connection: sqlite3.Connection, rid: int, start: int) -> None:
    joined = connection.execute("SELECT 1 FROM archive WHERE rid = ? AND to_seq = ?", (rid, start)).fetchone()
    weight, size = connection.execute(
        "SELECT coalesce(sum(length(content)), 0), (SELECT length(content) FROM snapshots WHERE rid = ?1) FROM archive"
        " WHERE rid = ?1 AND to_seq > coalesce((SELECT max(seq) FROM bases WHERE rid = ?1), 0)",
        (rid,),
    ).fetchone()
    if joined is not None and weight < size:
        return
    content, gate, crc = connection.execute("SELECT content, gate, crc FROM snapshots WHERE rid = ?", (rid,)).fetchone()
    own = zlib.crc32(content, seed(rid, start))
    if zlib.crc32(gate, own) == crc:
        connection.execute("INSERT OR REPLACE INTO bases VALUES (?, ?, ?, ?)", (rid, start, content, own))
    else:
        log.error("the snapshot of document %d up to row %d does not match its checksum", rid, start)


def drop(connection: sqlite3.Connection, rid: int) -> None:
    """Delete the history of a document."""
    connection.execute("DELETE FROM archive WHERE rid = ?", (rid,))
    connection.execute("DELETE FROM bases WHERE rid = ?", (rid,))


def cut(connection: sqlite3.Connection, rid: int, before: float) -> None:
    """Delete everything before the newest base or snapshot that is older than ``before``."""
    starts = connection.execute(
        "SELECT seq FROM bases WHERE rid = ?1 UNION SELECT seq FROM snapshots WHERE rid = ?1 ORDER BY seq DESC", (rid,)
    ).fetchall()
    for (start,) in starts:
        (newest,) = connection.execute(
            "SELECT max(to_at) FROM archive WHERE rid = ? AND to_seq <= ?", (rid, start)
        ).fetchone()
        if newest is None:
            return
        if newest < before:
            connection.execute("DELETE FROM archive WHERE rid = ? AND to_seq <= ?", (rid, start))
            connection.execute("DELETE FROM bases WHERE rid = ? AND seq < ?", (rid, start))
            connection.execute(
                "DELETE FROM bases WHERE rid = ?1 AND seq = (SELECT seq FROM snapshots WHERE rid = ?1)", (rid,)
            )
            return


def cut_some(connection: sqlite3.Connection, before: float, after: int) -> int | None:
    """:func:`cut` some documents with a row id above ``after``. Returns the last of them if there may be more."""
    rids = connection.execute(
        "SELECT DISTINCT rid FROM archive WHERE rid > ? AND to_at < ? ORDER BY rid LIMIT ?", (after, before, _SLICE)
    ).fetchall()
    for (rid,) in rids:
        cut(connection, rid, before)
    return rids[-1][0] if len(rids) == _SLICE else None


# reading


def read_document(connection: sqlite3.Connection, key: RoomKey, seq: int) -> list[bytes]:
    """The updates of a document's state after log row ``seq``. Raises :class:`NotFound`."""
    with moment(connection):
        rid = find_rid(connection, key)
        if seq <= 0:
            return []
        if rid is None or seq > _last_seq(connection, key, rid):
            raise NotFound("the document never had that log row")
        newest = _snapshot_seq(connection, rid)
        snapshot = base = None
        if 0 < newest <= seq:
            snapshot = connection.execute(
                "SELECT seq, content, gate, crc FROM snapshots WHERE rid = ?", (rid,)
            ).fetchone()
        else:
            base = connection.execute(
                "SELECT seq, content, crc FROM bases WHERE rid = ? AND seq <= ? ORDER BY seq DESC LIMIT 1", (rid, seq)
            ).fetchone()
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
    if reach < min(seq, newest):
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


def _snapshot_seq(connection: sqlite3.Connection, rid: int) -> int:
    row = connection.execute("SELECT seq FROM snapshots WHERE rid = ?", (rid,)).fetchone()
    return 0 if row is None else int(row[0])


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
