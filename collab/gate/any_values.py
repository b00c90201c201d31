"""Plain values in lib0's "any" encoding: read into JSON values, and written.

Facts: https://github.com/dmonad/lib0, ``readAny`` and ``writeAny``.
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Callable, Mapping
from struct import Struct
from typing import Any, NamedTuple

from collab.errors import InvalidRequest
from collab.gate.limits import MAX_KEY_BYTES, MAX_VALUE_DEPTH
from collab.json_values import SAFE_INTEGER
from presence.lib0 import DecodeError, encode_bytes, encode_string, encode_uint, read_bytes, read_string, read_uint

_FLOAT32, _FLOAT64, _INT64 = Struct(">f"), Struct(">d"), Struct(">q")
_MAX_SHORT = 2**31 - 1  # JavaScript writes larger integers as floats


class Reading(NamedTuple):
    """Conversions of values that JSON does not have."""

    undefined: Any
    number: Callable[[float], Any]
    bigint: Callable[[int], Any]
    data: Callable[[bytes], Any]


def as_number(number: float) -> float | int:
    """A JavaScript number: an ``int`` if it has no fraction and is a safe integer."""
    return int(number) if number.is_integer() and abs(number) <= SAFE_INTEGER else number


def _finite(number: float) -> float | int | None:
    return as_number(number) if math.isfinite(number) else None


def _countable(number: int) -> int | str:
    return number if abs(number) <= SAFE_INTEGER else str(number)


def _base64(data: bytes) -> str:
    return b64encode(data).decode()


JSON = Reading(None, _finite, _countable, _base64)
"""JSON has no undefined, NaN or infinity (``None`` here), no bytes (base64) and no integers beyond JavaScript's safe
range (strings). A float without a fraction becomes an integer.
"""


def read_any(b: bytes, i: int, reading: Reading = JSON) -> tuple[Any, int]:
    """Read one value; returns ``(value, position behind it)``.

    Raises :class:`DecodeError` or :class:`IndexError` for input that the gate would refuse.
    """
    kind = b[i]
    i += 1
    if kind == 119:
        return read_string(b, i)
    if kind == 125:
        return _read_int(b, i)
    if kind == 120 or kind == 121:
        return kind == 120, i
    if kind == 126:
        return None, i
    if kind == 127:
        return reading.undefined, i
    if kind == 124:
        return reading.number(_FLOAT32.unpack(b[i : i + 4].ljust(4, b"\0"))[0]), i + 4
    if kind == 123:
        return reading.number(_FLOAT64.unpack(b[i : i + 8].ljust(8, b"\0"))[0]), i + 8
    if kind == 122:
        return reading.bigint(_INT64.unpack(b[i : i + 8].ljust(8, b"\0"))[0]), i + 8
    if kind == 116:
        data, i = read_bytes(b, i)
        return reading.data(data), i
    if kind == 117:
        items = []
        count, i = read_uint(b, i)
        for _ in range(count):
            item, i = read_any(b, i, reading)
            items.append(item)
        return items, i
    if kind == 118:
        members = {}
        count, i = read_uint(b, i)
        for _ in range(count):
            key, i = read_string(b, i)
            members[key], i = read_any(b, i, reading)
        return members, i
    raise DecodeError("a value of unknown kind")


def _read_int(b: bytes, i: int) -> tuple[int, int]:
    first = byte = b[i]
    value = byte & 63
    shift = 6
    while byte & 128:
        i += 1
        byte = b[i]
        value |= (byte & 127) << shift
        shift += 7
    return (-value if first & 64 else value), i + 1


def write_any(value: Any, depth: int = 0) -> bytes:
    """Write a JSON value as JavaScript would. Raises :class:`InvalidRequest` for what JSON or the gate forbids."""
    if value is None:
        return b"\x7e"
    if value is True:
        return b"\x78"
    if value is False:
        return b"\x79"
    if isinstance(value, str):
        return b"\x77" + _text(value)
    if isinstance(value, int):
        if abs(value) <= _MAX_SHORT:
            return b"\x7d" + _write_int(value)
        if abs(value) <= SAFE_INTEGER:
            return b"\x7b" + _FLOAT64.pack(value)
        raise InvalidRequest("an integer beyond JavaScript's safe range")
    if isinstance(value, float):
        return b"\x7b" + _FLOAT64.pack(value) if math.isfinite(value) else b"\x7e"
    if isinstance(value, bytes | bytearray):
        return b"\x74" + encode_bytes(bytes(value))
    if depth >= MAX_VALUE_DEPTH:
        raise InvalidRequest("a value is nested too deeply")
    if isinstance(value, Mapping):
        parts = [b"\x76", encode_uint(len(value))]
        for key, item in value.items():
            if not isinstance(key, str) or key == "__proto__":
                raise InvalidRequest(f"an object has the key {key!r}")
            parts += (write_key(key), write_any(item, depth + 1))
        return b"".join(parts)
    if isinstance(value, list | tuple):
        return b"\x75" + encode_uint(len(value)) + b"".join(write_any(item, depth + 1) for item in value)
    raise InvalidRequest(f"a {type(value).__name__} is not a JSON value")


def write_key(key: str) -> bytes:
    """Write the key of a map or an object. Raises :class:`InvalidRequest` if it is too long."""
    raw = _text(key)
    if len(raw) > MAX_KEY_BYTES:
        raise InvalidRequest(f"a key of more than {MAX_KEY_BYTES} bytes")
    return raw


def _text(text: str) -> bytes:
    try:
        return encode_string(text)
    except UnicodeEncodeError:
        raise InvalidRequest("a string contains a lone surrogate") from None


def _write_int(value: int) -> bytes:
    sign, value = (64, -value) if value < 0 else (0, value)
    out = bytearray()
    more = 128 if value > 63 else 0
    out.append(more | sign | value & 63)
    value >>= 6
    while value:
        out.append((128 if value > 127 else 0) | value & 127)
        value >>= 7
    return bytes(out)
