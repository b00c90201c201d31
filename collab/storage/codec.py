"""How values become bytes in a database, and back: JSON of entities, packed log rows, checksums. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from collab.event import Conflict, EntityEvent
from collab.query.match import comparable
from collab.storage.base import LogRow

_CHUNK_BYTES = 1024 * 1024  # of log rows in one piece of an archive, before compression
_ROW_BYTES = 64  # what a row takes there beside its update

_json = msgspec.json.Encoder()
_object = msgspec.json.Decoder(dict[str, Any])
_conflicts = msgspec.json.Decoder(tuple[Conflict, ...])
_event = msgspec.json.Decoder(EntityEvent)
_pack = msgspec.msgpack.Encoder()
_packed = msgspec.msgpack.Decoder(list[tuple[int, bytes, str | None, float]])


def to_json(value: Any) -> str:
    """A JSON value as text. What no UTF-8 can hold (a lone surrogate) becomes ``?``; NaN and infinity, ``null``."""
    try:
        return _json.encode(value).decode()
    except UnicodeEncodeError:
        return _json.encode(encodable(msgspec.to_builtins(value))).decode()


def from_json(text: str | bytes) -> dict[str, Any]:
    """An object as :func:`to_json` wrote it. Raises :class:`msgspec.DecodeError`."""
    return _object.decode(text)


def conflicts_from(text: str | None) -> tuple[Conflict, ...]:
    """Conflicts as :func:`to_json` wrote them, none for ``None``. Raises :class:`msgspec.DecodeError`."""
    return _conflicts.decode(text) if text else ()


def event_from(text: str | bytes) -> EntityEvent:
    """A whole event as :func:`to_json` wrote it. Raises :class:`msgspec.DecodeError`."""
    return _event.decode(text)


def encodable(value: Any) -> Any:
    """The same JSON value without lone surrogates."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {encodable(name): encodable(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [encodable(item) for item in value]
    return value


def keys_of(data: dict[str, Any]) -> str | None:
    """``data`` as JSON in the form in which queries compare it, ``None`` if that is the same."""
    keys = comparable(data)
    return None if keys is data else to_json(keys)


def pack_rows(rows: Sequence[LogRow]) -> bytes:
    """Log rows as they stand in an archive."""
    return zlib.compress(_pack.encode([(row.seq, row.update, row.user_id, row.at) for row in rows]), 6)


def unpack_rows(content: bytes) -> list[LogRow]:
    """What :func:`pack_rows` packed. Raises :class:`zlib.error` or :class:`msgspec.DecodeError`."""
    return [LogRow(*row) for row in _packed.decode(zlib.decompress(content))]


def chunks(rows: Sequence[LogRow]) -> Iterator[Sequence[LogRow]]:
    """Rows in pieces that each are read and compressed at once; at least one, which may be empty."""
    start = size = 0
    for index, row in enumerate(rows):
        weight = len(row.update) + _ROW_BYTES
        if size and size + weight > _CHUNK_BYTES:
            yield rows[start:index]
            start, size = index, 0
        size += weight
    yield rows[start:]


def seed(rid: int, seq: int) -> int:
    """Where a checksum starts: bytes that moved to another row do not match."""
    return (rid * 0x9E3779B1 ^ seq) & 0xFFFFFFFF
