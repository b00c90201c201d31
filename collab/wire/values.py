"""Plain values in the encoding that lib0 calls "any", read as JSON has them and written.

Facts: https://github.com/dmonad/lib0, ``readAny`` and ``writeAny``.
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Mapping
from struct import Struct
from typing import Any

from collab.errors import InvalidRequest
from collab.wire.plain import SAFE_INTEGER
from collab.wire.structs import MAX_KEY_BYTES, MAX_VALUE_DEPTH
from presence.lib0 import encode_bytes, encode_string, encode_uint, read_bytes, read_string, read_uint

_FLOAT32, _FLOAT64, _INT64 = Struct(">f"), Struct(">d"), Struct(">q")
_MAX_SHORT = 2**31 - 1  # what JavaScript writes as an integer; larger ones are floats there
_CONSTANTS: dict[int, Any] = {120: True, 121: False, 126: None, 127: None}


def read_any(b: bytes, i: int) -> tuple[Any, int]:
    """Read a value that the gate has let pass: ``(value as JSON, position behind it)``.

    JSON has no undefined, NaN and infinity (``None`` here), no bytes (base64) and no integers that JavaScript cannot
    count (text). A float without a fraction is an integer.
    """
    kind = b[i]
    i += 1
    if kind == 119:
        return read_string(b, i)
    if kind == 125:
        return _read_int(b, i)
    if kind in _CONSTANTS:
        return _CONSTANTS[kind], i
    if kind == 124:
        return _number(_FLOAT32.unpack_from(b, i)[0]), i + 4
    if kind == 123:
        return _number(_FLOAT64.unpack_from(b, i)[0]), i + 8
    if kind == 122:
        number: int = _INT64.unpack_from(b, i)[0]
        return (number if abs(number) <= SAFE_INTEGER else str(number)), i + 8
    if kind == 116:
        data, i = read_bytes(b, i)
        return b64encode(data).decode(), i
    count, i = read_uint(b, i)
    if kind == 117:
        items = []
        for _ in range(count):
            item, i = read_any(b, i)
            items.append(item)
        return items, i
    members = {}
    for _ in range(count):
        key, i = read_string(b, i)
        members[key], i = read_any(b, i)
    return members, i


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


def _number(number: float) -> float | int | None:
    if number.is_integer() and abs(number) <= SAFE_INTEGER:
        return int(number)
    return number if math.isfinite(number) else None


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
        raise InvalidRequest("an integer that JavaScript cannot count exactly")
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
    raise InvalidRequest(f"a {type(value).__name__} is no JSON value")


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
        raise InvalidRequest("a text holds half a surrogate pair") from None


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
