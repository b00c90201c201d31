"""The history of documents in PostgreSQL: log rows that a snapshot took the place of, packed, and earlier snapshots.

As in SQLite: the pieces of an archive follow each other without gaps, from the first row or from a base on, up to the
snapshot.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from collab.errors import DocumentDamaged, NotFound
from collab.names import RoomKey
from collab.storage.base import LogRow, SetAside
from collab.storage.codec import Piece, pack_pieces, unpack_rows
from collab.storage.postgres.documents import check_rows, find_rid, read_log, read_set_aside, read_snapshot
from collab.storage.postgres.values import is_intact

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PackedLog:
    """``count`` log rows after snapshot ``start``, in pieces."""

    start: int
    count: int
    pieces: Sequence[Piece]
    damaged: Sequence[SetAside]
    newest: float  # time of the last row


NOTHING_PACKED = PackedLog(0, 0, (), (), 0.0)


async def pack(connection: asyncpg.Connection, key: RoomKey, seq: int) -> PackedLog:
    """Pack the log up to row ``seq``."""
    rid = await find_rid(connection, key)
    if rid is None:
        return NOTHING_PACKED
    start = await _snapshot_seq(connection, rid)
    rows = await read_log(connection, rid, 0, seq)
    good, damaged = await check_rows(key, rid, rows)
    aside = await read_set_aside(connection, key)
    pieces = await asyncio.to_thread(pack_pieces, good, [*aside, *damaged], start, seq)
    return PackedLog(start, len(rows), pieces, damaged, max((row.at for row in good), default=0.0))


async def read_document(connection: asyncpg.Connection, key: RoomKey, seq: int) -> list[bytes]:
    """The updates of a document's state after log row ``seq``. Raises :class:`NotFound`."""
    if seq <= 0:
        return []
    rid = await find_rid(connection, key)
    if rid is None or seq > await connection.fetchval("SELECT collab.last_1($1)", rid):
        raise NotFound("the document never had that log row")
    newest = await _snapshot_seq(connection, rid)
    updates: list[bytes] = []
    start = 0
    if 0 < newest <= seq:
        snapshot = await read_snapshot(connection, key, rid)
        if snapshot is not None:
            start = snapshot.seq
            updates.append(snapshot.update)
    else:
        base = await connection.fetchrow(
            "SELECT seq, content, crc FROM collab.bases WHERE rid = $1 AND seq <= $2 ORDER BY seq DESC LIMIT 1",
            rid,
            seq,
        )
        if base is not None:
            start = base[0]
            updates.append(await asyncio.to_thread(lambda: zlib.decompress(_verified(key, rid, *base))))
    reach = start
    for from_seq, to_seq, content, crc in await _pieces(connection, rid, start, seq):
        if from_seq != reach + 1:
            break
        unpacked = await _unpack(key, rid, to_seq, content, crc)
        updates += [row.update for row in unpacked if row.seq <= seq]
        reach = to_seq
    if reach < min(seq, newest):
        raise NotFound("that version of the document is no longer stored")
    rows = await read_log(connection, rid, start, seq)
    good, _ = await check_rows(key, rid, rows)
    return updates + [row.update for row in good]


async def read_log_after(connection: asyncpg.Connection, key: RoomKey, seq: int) -> list[LogRow]:
    """Log rows after ``seq``, including archived ones."""
    rid = await find_rid(connection, key)
    if rid is None:
        return []
    archived: list[LogRow] = []
    for _, to_seq, content, crc in await _pieces(connection, rid, seq, (1 << 63) - 1):
        archived += [row for row in await _unpack(key, rid, to_seq, content, crc) if row.seq > seq]
    good, _ = await check_rows(key, rid, await read_log(connection, rid, seq))
    return archived + good


async def last_at(connection: asyncpg.Connection, key: RoomKey, at: float) -> int:
    """The newest log row written by a time, 0 if none is known."""
    rid = await find_rid(connection, key)
    if rid is None:
        return 0
    seq = await connection.fetchval("SELECT max(seq) FROM collab.log WHERE rid = $1 AND at <= $2", rid, at)
    if seq is not None:
        return int(seq)
    pieces = connection.cursor(
        "SELECT to_seq, content, crc FROM collab.archive WHERE rid = $1 AND from_at <= $2 ORDER BY to_seq DESC",
        rid,
        at,
        prefetch=1,
    )
    async for to_seq, content, crc in pieces:
        for row in reversed(await _unpack(key, rid, to_seq, content, crc)):
            if row.at <= at:
                return row.seq
    return 0


async def _snapshot_seq(connection: asyncpg.Connection, rid: int) -> int:
    return int(await connection.fetchval("SELECT seq FROM collab.snapshots WHERE rid = $1", rid) or 0)


async def _pieces(connection: asyncpg.Connection, rid: int, after: int, to: int) -> list[asyncpg.Record]:
    rows: list[asyncpg.Record] = await connection.fetch(
        "SELECT from_seq, to_seq, content, crc FROM collab.archive WHERE rid = $1 AND to_seq > $2 AND from_seq <= $3"
        " ORDER BY to_seq",
        rid,
        after,
        to,
    )
    return rows


async def _unpack(key: RoomKey, rid: int, seq: int, content: bytes, crc: int) -> list[LogRow]:
    """The rows of a piece, up to row ``seq``; in a thread: a piece may hold megabytes."""
    return await asyncio.to_thread(lambda: unpack_rows(_verified(key, rid, seq, content, crc)))


def _verified(key: RoomKey, rid: int, seq: int, content: bytes, crc: int) -> bytes:
    if is_intact(content, rid, seq, crc):
        return content
    log.error("the history of %s (document %d, up to row %d) does not match its checksum", key, rid, seq)
    raise DocumentDamaged("the stored history of the document is damaged and was not touched")
