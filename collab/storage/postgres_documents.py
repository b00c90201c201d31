"""Current documents in PostgreSQL: snapshot, log rows, set-aside entries. Every checksum is verified."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterable
from time import time

import asyncpg

from collab.errors import DocumentDamaged
from collab.names import RoomKey
from collab.storage.base import LogRow, Record, SetAside, Snapshot
from collab.storage.postgres_entities import read_entity
from collab.storage.postgres_values import is_intact

log = logging.getLogger(__name__)


async def load(connection: asyncpg.Connection, key: RoomKey) -> tuple[Record | None, list[SetAside]]:
    """The record of a document, and its damaged rows that are still in the log."""
    entity = await read_entity(connection, key)
    document = await connection.fetchrow(
        "SELECT rid, lineage FROM collab.documents WHERE project = $1 AND collection = $2 AND id = $3", *key
    )
    aside = await read_set_aside(connection, key)
    if document is None:
        return (Record(None, None, (), aside, entity), []) if aside or entity is not None else (None, [])
    rid, lineage = document
    snapshot = await read_snapshot(connection, key, rid)
    good, damaged = check_rows(key, rid, await read_log(connection, rid))
    return Record(lineage, snapshot, good, [*aside, *damaged], entity), damaged


async def find_rid(connection: asyncpg.Connection, key: RoomKey) -> int | None:
    """The row id of a document, ``None`` if there is none."""
    rid: int | None = await connection.fetchval(
        "SELECT rid FROM collab.documents WHERE project = $1 AND collection = $2 AND id = $3", *key
    )
    return rid


async def read_log(
    connection: asyncpg.Connection, rid: int, after: int = 0, to: int = (1 << 63) - 1
) -> list[asyncpg.Record]:
    """Stored log rows after ``after``, up to and including ``to``."""
    rows: list[asyncpg.Record] = await connection.fetch(
        "SELECT seq, content, user_id, at, crc FROM collab.log WHERE rid = $1 AND seq > $2 AND seq <= $3 ORDER BY seq",
        rid,
        after,
        to,
    )
    return rows


def check_rows(key: RoomKey, rid: int, rows: Iterable[asyncpg.Record]) -> tuple[list[LogRow], list[SetAside]]:
    """Stored log rows: those that match their checksums, and the damaged ones."""
    good: list[LogRow] = []
    damaged: list[SetAside] = []
    for seq, content, user_id, at, crc in rows:
        if is_intact(content, rid, seq, crc):
            good.append(LogRow(seq, content, user_id, at))
        else:
            damaged.append(SetAside(key, seq, content, "the row does not match its checksum", time()))
    return good, damaged


async def read_snapshot(connection: asyncpg.Connection, key: RoomKey, rid: int) -> Snapshot | None:
    """The newest snapshot. Raises :class:`DocumentDamaged`."""
    row = await connection.fetchrow(
        "SELECT seq, content, crc, gate, gate_crc FROM collab.snapshots WHERE rid = $1", rid
    )
    if row is None:
        return None
    seq, content, crc, gate, gate_crc = row
    try:
        if is_intact(content, rid, seq, crc) and is_intact(gate, rid, seq, gate_crc):
            return Snapshot(seq, zlib.decompress(content), zlib.decompress(gate))
    except zlib.error:
        pass
    log.error("the snapshot of %s (document %d, up to row %d) does not match its checksum", key, rid, seq)
    raise DocumentDamaged("the stored document is damaged and was not touched")


async def read_set_aside(connection: asyncpg.Connection, key: RoomKey) -> list[SetAside]:
    """The set-aside entries of one document, oldest first."""
    rows = await connection.fetch(
        "SELECT project, collection, id, seq, content, reason, at FROM collab.set_aside"
        " WHERE project = $1 AND collection = $2 AND id = $3 ORDER BY number",
        *key,
    )
    return [SetAside(RoomKey(*row[:3]), *row[3:]) for row in map(tuple, rows)]


async def list_set_aside(connection: asyncpg.Connection, project: str | None) -> list[SetAside]:
    """The set-aside entries of one project, or of all, oldest first."""
    rows = await connection.fetch(
        "SELECT project, collection, id, seq, content, reason, at FROM collab.set_aside"
        " WHERE $1::text IS NULL OR project = $1 ORDER BY number",
        project,
    )
    return [SetAside(RoomKey(*row[:3]), *row[3:]) for row in map(tuple, rows)]


async def list_uncovered(connection: asyncpg.Connection, limit: int) -> list[RoomKey]:
    """Documents whose log goes beyond their events, longest waiting first."""
    rows = await connection.fetch(
        "SELECT project, collection, id FROM collab.uncovered JOIN collab.documents USING (rid)"
        " ORDER BY number LIMIT $1",
        limit,
    )
    return [RoomKey(*row) for row in rows]
