"""Contents of items -> Python values. No reader fails: unreadable content becomes :data:`UNDEFINED`.

Facts: https://github.com/yjs/yjs ``src/structs/Content*.js``.
"""

from __future__ import annotations

import json
import math
from array import array
from enum import Enum
from typing import Any, Final

import msgspec

from collab.gate.any_values import Reading, as_number, read_any
from presence.lib0 import DecodeError, encode_string, read_bytes, read_string, read_uint

_parse = msgspec.json.Decoder().decode


class Undefined(Enum):
    """The type of :data:`UNDEFINED`."""

    UNDEFINED = "undefined"

    def __str__(self) -> str:
        return self.value


UNDEFINED: Final = Undefined.UNDEFINED
"""JavaScript's ``undefined``. In JSON it becomes ``null``."""

_EXACTLY = Reading(UNDEFINED, as_number, int, bytes)


def read_value(b: bytes, i: int) -> tuple[Any, int]:
    """Read one value in lib0's "any" encoding; returns ``(value, position behind it)``.

    Binary values are ``bytes``; a number without a fraction is an ``int``, and so is a bigint. Raises
    :class:`DecodeError` or :class:`IndexError` for input that the gate would refuse.
    """
    return read_any(b, i, _EXACTLY)


def decode_value(b: bytes) -> Any:
    """One value of any kind."""
    try:
        return read_value(b, 0)[0]
    except (DecodeError, IndexError, RecursionError):
        return UNDEFINED


def split_values(b: bytes) -> list[bytes]:
    """Split encoded values, preceded by their number; each stays encoded."""
    parts = []
    count, i = read_uint(b, 0)
    for _ in range(count):
        start = i
        _, i = read_value(b, i)
        parts.append(b[start:i])
    return parts


def decode_json(text: str) -> Any:
    """A JSON text as JavaScript reads it, with U+FFFD for lone surrogates."""
    try:
        return _parse(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        try:
            return _whole(json.loads(text))
        except (ValueError, RecursionError):
            return UNDEFINED


def _whole(value: Any) -> Any:
    match value:
        case str():
            return text_of(value)
        case list():
            return [_whole(item) for item in value]
        case dict():
            return {text_of(key): _whole(item) for key, item in value.items()}
        case _:
            return value


def decode_format(b: bytes) -> tuple[str, Any]:
    """Key and value of a formatting mark."""
    try:
        key, i = read_string(b, 0)
        return key, decode_json(read_string(b, i)[0])
    except DecodeError:
        return "", UNDEFINED


def decode_embed(b: bytes) -> Any:
    """A value embedded in a text, unless it is a shared type."""
    try:
        return decode_json(read_string(b, 0)[0])
    except DecodeError:
        return UNDEFINED


def decode_binary(b: bytes) -> Any:
    """Bytes, preceded by their length."""
    try:
        return read_bytes(b, 0)[0]
    except DecodeError:
        return UNDEFINED


def units_of(text: str) -> str:
    """A string with one character for each UTF-16 code unit: characters above U+FFFF become two surrogates."""
    raw = text.encode("utf-16-le", "surrogatepass")
    if len(raw) == 2 * len(text):
        return text
    return "".join(map(chr, array("H", raw)))


def text_of(units: str) -> str:
    """The string of some UTF-16 code units; a lone surrogate becomes U+FFFD, as in Yjs."""
    if units.isascii():
        return units
    return units.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def encode_units(units: str) -> bytes:
    """UTF-16 code units as the content of an item."""
    return encode_string(text_of(units))


def equal(left: Any, right: Any) -> bool:
    """Whether two values are equal in JavaScript, ignoring the order of members and the type of numbers."""
    if left is right:
        return True
    if isinstance(left, bool | None | Undefined) or isinstance(right, bool | None | Undefined):
        return False
    if isinstance(left, dict):
        return (
            isinstance(right, dict)
            and left.keys() == right.keys()
            and all(equal(item, right[key]) for key, item in left.items())
        )
    if isinstance(left, list):
        return isinstance(right, list) and len(left) == len(right) and all(map(equal, left, right))
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left) and math.isnan(right):
        return True
    return bool(left == right)
