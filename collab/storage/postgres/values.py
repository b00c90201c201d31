"""Values as parameters of PostgreSQL: strings without U+0000, checksums, numbers as they are compared. Pure."""

from __future__ import annotations

import zlib
from typing import Any

from collab.query.match import as_written, comparable, whole
from collab.storage.codec import encodable, to_json


def plain(text: str) -> str:
    """A string that PostgreSQL can store: U+0000 becomes U+0001, a lone surrogate ``?``."""
    written = as_written(text)
    try:
        written.encode()
    except UnicodeEncodeError:
        return str(encodable(written))
    return written


def plain_or_none(text: str | None) -> str | None:
    """:func:`plain` of a text, if there is one."""
    return None if text is None else plain(text)


def checksum(content: bytes) -> int:
    """The checksum of bytes without their place, which the database adds."""
    return zlib.crc32(content)


def is_intact(content: bytes, rid: int, seq: int, crc: int) -> bool:
    """Whether stored bytes are those written at this place."""
    return sealed(content, rid, seq) == crc


def sealed(content: bytes, rid: int, seq: int) -> int:
    """The checksum of bytes at their place."""
    return checksum(content) ^ ((rid & 0x7FFFFFFF) * 0x9E3779B1 ^ seq) & 0xFFFFFFFF


def keys_and_texts(data: dict[str, Any]) -> tuple[str, str | None]:
    """``data`` as JSON in the form in which it is compared, and with its texts as written (``None``: the same)."""
    keys = to_json(_whole_in(comparable(data)))
    texts = to_json(_whole_in(_as_written_in(data)))
    return keys, None if texts == keys else texts


def _whole_in(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _whole_in(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_whole_in(item) for item in value]
    return whole(value) if isinstance(value, float) else value


def _as_written_in(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _as_written_in(member) for name, member in value.items() if "\0" not in name}
    if isinstance(value, list | tuple):
        return [_as_written_in(item) for item in value]
    if isinstance(value, str):
        return as_written(value)
    return comparable(value)
