"""Encoding of values in a database: JSON of entities, packed log rows, checksums. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from collab.event import EntityEvent, FieldConflict
from collab.query.match import comparable
from collab.storage.base import Committed, LogRow, SetAside

_CHUNK_BYTES = 1024 * 1024  # of log rows in one piece of an archive, uncompressed
_ROW_BYTES = 64  # size of a row in an archive besides its update

_json = msgspec.json.Encoder()
_object = msgspec.json.Decoder(dict[str, Any])
_conflicts = msgspec.json.Decoder(tuple[FieldConflict, ...])
_event = msgspec.json.Decoder(EntityEvent)
_pack = msgspec.msgpack.Encoder()
_answer = msgspec.msgpack.Decoder(tuple[list[int], list[int]])
_packed = msgspec.msgpack.Decoder(list[tuple[int, bytes, str | None, float]])


def to_json(value: Any) -> str:
    """A JSON value as text. Lone surrogates, which UTF-8 cannot encode, become ``?``; NaN and infinity ``null``."""
    try:
        return _json.encode(value).decode()
    except UnicodeEncodeError:
        return _json.encode(encodable(msgspec.to_builtins(value))).decode()


def from_json(text: str | bytes) -> dict[str, Any]:
    """Decode an object of :func:`to_json`. Raises :class:`msgspec.DecodeError`."""
    return _object.decode(text)


def conflicts_from(text: str | None) -> tuple[FieldConflict, ...]:
    """Decode conflicts of :func:`to_json`; none for ``None``. Raises :class:`msgspec.DecodeError`."""
    return _conflicts.decode(text) if text else ()


def event_from(text: str | bytes) -> EntityEvent:
    """Decode an event of :func:`to_json`. Raises :class:`msgspec.DecodeError`."""
    return _event.decode(text)


def encodable(value: Any) -> Any:
    """The same JSON value with lone surrogates replaced."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {encodable(name): encodable(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [encodable(item) for item in value]
    return value


def keys_of(data: dict[str, Any]) -> str | None:
    """``data`` as JSON in the form that queries compare, ``None`` if that is the same."""
    keys = comparable(data)
    return None if keys is data else to_json(keys)


def pack_rows(rows: Sequence[LogRow]) -> bytes:
    """Log rows in the encoding of an archive."""
    return zlib.compress(_pack.encode([(row.seq, row.update, row.user_id, row.at) for row in rows]), 6)


def unpack_rows(content: bytes) -> list[LogRow]:
    """The inverse of :func:`pack_rows`. Raises :class:`zlib.error` or :class:`msgspec.DecodeError`."""
    return [LogRow(*row) for row in _packed.decode(zlib.decompress(content))]


def pack_answer(committed: Committed) -> bytes:
    """A commit's answer in the encoding of its receipt."""
    return _pack.encode((list(committed.seqs), list(committed.positions)))


def unpack_answer(content: bytes) -> Committed:
    """The inverse of :func:`pack_answer`. Raises :class:`msgspec.DecodeError`."""
    return Committed(*_answer.decode(content))


@dataclass(frozen=True, slots=True)
class Piece:
    """Packed log rows ``from_seq`` to ``to_seq``, written between ``from_at`` and ``to_at`` (seconds)."""

    from_seq: int
    to_seq: int
    from_at: float
    to_at: float
    content: bytes


def pack_pieces(rows: Sequence[LogRow], aside: Sequence[SetAside], start: int, end: int) -> list[Piece]:
    """Pack the log after row ``start`` up to row ``end`` without gaps, in pieces to be read and compressed at once.

    ``aside``: rows of this range that were set aside. They have no content, but the version before them lasted until
    they came, so their times count.
    """
    pieces: list[Piece] = []
    parts = list(_chunks(rows))
    for number, part in enumerate(parts, 1):
        to_seq = end if number == len(parts) else part[-1].seq
        times = [row.at for row in part]
        times += [entry.at for entry in aside if entry.seq is not None and start < entry.seq <= to_seq]
        pieces.append(Piece(start + 1, to_seq, min(times, default=0.0), max(times, default=0.0), pack_rows(part)))
        start = to_seq
    return pieces


def _chunks(rows: Sequence[LogRow]) -> Iterator[Sequence[LogRow]]:
    """At least one chunk, which may be empty."""
    start = size = 0
    for index, row in enumerate(rows):
        weight = len(row.update) + _ROW_BYTES
        if size and size + weight > _CHUNK_BYTES:
            yield rows[start:index]
            start, size = index, 0
        size += weight
    yield rows[start:]


def seed(rid: int, seq: int) -> int:
    """The start value of a checksum, so that bytes in the wrong row do not match."""
    return (rid * 0x9E3779B1 ^ seq) & 0xFFFFFFFF
