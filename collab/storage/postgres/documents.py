"""Current documents in PostgreSQL: snapshot, log rows, set-aside entries. Every checksum is verified."""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Callable, Iterable, Sequence
from time import time
from typing import Any, NamedTuple, TypeVar

import asyncpg

from collab.errors import DocumentDamaged
from collab.names import RoomKey
from collab.storage.base import EntityRow, LogRow, Record, SetAside, Snapshot
from collab.storage.postgres.entities import COLUMNS, entity_row
from collab.storage.postgres.values import is_intact
from collab.storage.releases import ASKED

log = logging.getLogger(__name__)

T = TypeVar("T")

_LARGE_BYTES = 64 * 1024
_ROW_BYTES = 64  # what a row takes besides its content


class DocumentHead(NamedTuple):
    """What there is of a document: its row id and lineage, whether anything of it was set aside, and its entity."""

    rid: int | None
    lineage: str | None
    aside: bool
    entity: EntityRow | None


_HEADS = (
    "SELECT d.rid, d.lineage, EXISTS (SELECT 1 FROM collab.set_aside AS a"  # noqa: S608
    " WHERE a.project = k.project AND a.collection = k.collection AND a.id = k.id),"
    f" {', '.join(f'e.{column}' for column in COLUMNS.split(', '))} FROM %s"
    " LEFT JOIN collab.documents AS d ON d.project = k.project AND d.collection = k.collection AND d.id = k.id"
    " LEFT JOIN collab.entities AS e ON e.project = k.project AND e.collection = k.collection AND e.id = k.id"
)
_HEAD = _HEADS % "(SELECT $1::text AS project, $2::text AS collection, $3::text AS id) AS k"
_EMPTY = ", ".join(["NULL"] * (3 + len(COLUMNS.split(", "))))
_RECORD = (
    f"WITH h AS MATERIALIZED ({_HEAD})"  # noqa: S608
    " SELECT 's', s.seq, s.content, NULL::text, NULL::float8, s.crc, s.gate, s.gate_crc, h.*"
    " FROM h LEFT JOIN collab.snapshots AS s ON s.rid = h.rid"
    f" UNION ALL SELECT 'l', l.seq, l.content, l.user_id, l.at, l.crc, NULL, NULL, {_EMPTY}"
    " FROM h JOIN collab.log AS l ON l.rid = h.rid"
    f" UNION ALL SELECT 'a', a.seq, a.content, a.reason, a.at, a.number, NULL, NULL, {_EMPTY}"
    " FROM collab.set_aside AS a WHERE a.project = $1 AND a.collection = $2 AND a.id = $3"
)
"""All of a document in one statement: its head with its snapshot, the rows of its log, and what was set aside."""
_HEADS_OF = _HEADS % "unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS k(project, collection, id, i)"


async def read_heads(connection: asyncpg.Connection, keys: Sequence[RoomKey]) -> list[asyncpg.Record]:
    """What :func:`head_of` takes, for each key."""
    if len(keys) == 1:  # a plan for arrays would be made anew each time
        return [await connection.fetchrow(_HEAD, *keys[0])]
    rows: list[asyncpg.Record] = await connection.fetch(
        f"{_HEADS_OF} ORDER BY k.i", *(list(part) for part in zip(*keys, strict=True))
    )
    return rows


def head_of(row: asyncpg.Record | Sequence[Any]) -> DocumentHead:
    """The head of a document. Raises :class:`msgspec.DecodeError` if its entity is damaged."""
    rid, lineage, aside, *entity = row
    return DocumentHead(rid, lineage, aside, None if entity[0] is None else entity_row(entity))


async def load(connection: asyncpg.Connection, key: RoomKey) -> tuple[Record | None, list[SetAside]]:
    """The record of a document, and its damaged rows that are still in the log. Raises :class:`DocumentDamaged`."""
    parts: dict[str, list[Sequence[Any]]] = {"s": [], "l": [], "a": []}
    for part, *columns in await connection.fetch(_RECORD, *key):
        parts[part].append(columns)
    ((seq, content, _, _, crc, gate, gate_crc, *columns),) = parts["s"]
    head = head_of(columns)
    aside = [SetAside(key, *row[:4]) for row in sorted(parts["a"], key=lambda row: row[4])]
    if head.rid is None:
        return record_without_log(head, aside), []
    snapshot = None if seq is None else await _open_snapshot(key, head.rid, seq, content, crc, gate, gate_crc)
    rows = [row[:5] for row in sorted(parts["l"], key=lambda row: row[0])]
    good, damaged = await check_rows(key, head.rid, rows)
    return Record(head.lineage, snapshot, good, [*aside, *damaged], head.entity), damaged


def record_without_log(head: DocumentHead, aside: Sequence[SetAside]) -> Record | None:
    """The record of a document that has no log yet; ``None`` if nothing is known under its name."""
    return Record(None, None, (), aside, head.entity) if aside or head.entity is not None else None


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


async def check_rows(
    key: RoomKey, rid: int, rows: Sequence[asyncpg.Record | Sequence[Any]]
) -> tuple[list[LogRow], list[SetAside]]:
    """Stored log rows: those that match their checksums, and the damaged ones."""
    size = sum(_ROW_BYTES + len(row[1]) for row in rows)
    return await _aside_if_large(size, lambda: _check_rows(key, rid, rows))


def _check_rows(
    key: RoomKey, rid: int, rows: Iterable[asyncpg.Record | Sequence[Any]]
) -> tuple[list[LogRow], list[SetAside]]:
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
    return None if row is None else await _open_snapshot(key, rid, *row)


async def _open_snapshot(
    key: RoomKey, rid: int, seq: int, content: bytes, crc: int, gate: bytes, gate_crc: int
) -> Snapshot:
    size = len(content) + len(gate)
    return await _aside_if_large(size, lambda: _snapshot(key, rid, seq, content, crc, gate, gate_crc))


async def _aside_if_large(size: int, work: Callable[[], T]) -> T:
    """Read so many stored bytes: in a thread if others would wait noticeably for that."""
    return work() if size <= _LARGE_BYTES else await asyncio.to_thread(work)


def _snapshot(key: RoomKey, rid: int, seq: int, content: bytes, crc: int, gate: bytes, gate_crc: int) -> Snapshot:
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


async def list_releases(connection: asyncpg.Connection) -> list[SetAside]:
    """The set-aside entries whose release is asked for, oldest first."""
    rows = await connection.fetch(
        "SELECT project, collection, id, seq, content, reason, at FROM collab.set_aside"
        " WHERE reason LIKE '%' || $1 ORDER BY number",
        ASKED,
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
