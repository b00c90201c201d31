"""lib0, the encoding below Yjs: bounded readers and fast writers of varUint, varUint8Array and varString.

Readers take the whole message and a position, and return the value and the position behind it. A number is at most
2**53 - 1 (JavaScript's largest safe integer) in at most 8 bytes. A length is checked against the available bytes before
anything is copied, so a reader's time and memory are bounded by the size of its message. Facts:
https://github.com/dmonad/lib0, ``encoding.js`` and ``decoding.js``.
"""

from __future__ import annotations

MAX_UINT = 2**53 - 1
"""Largest number that lib0 writes and JavaScript reads exactly."""

_MAX_UINT_BITS = 8 * 7
_ONE_BYTE = tuple(bytes([n]) for n in range(128))


class DecodeError(ValueError):
    """The bytes are invalid: truncated, too long, or out of range."""


def read_uint(data: bytes, pos: int) -> tuple[int, int]:
    """Read a varUint: ``(value, position behind it)``. Raises :class:`DecodeError`."""
    try:
        byte = data[pos]
        pos += 1
        if byte < 128:
            return byte, pos
        value = byte - 128
        shift = 7
        while shift < _MAX_UINT_BITS:
            byte = data[pos]
            pos += 1
            if byte < 128:
                value += byte << shift
                if value > MAX_UINT:
                    break
                return value, pos
            value += byte - 128 << shift
            shift += 7
    except IndexError:
        raise DecodeError("the message ends inside a number") from None
    raise DecodeError("a number above 2**53 - 1")


def read_bytes(data: bytes, pos: int) -> tuple[bytes, int]:
    """Read a varUint8Array: ``(bytes, position behind it)``. Raises :class:`DecodeError`."""
    length, pos = read_uint(data, pos)
    end = pos + length
    if end > len(data):
        raise DecodeError("the message ends inside a byte array")
    return data[pos:end], end


def read_string(data: bytes, pos: int) -> tuple[str, int]:
    """Read a varString of strict UTF-8: ``(string, position behind it)``. Raises :class:`DecodeError`."""
    raw, pos = read_bytes(data, pos)
    try:
        return raw.decode(), pos
    except UnicodeDecodeError:
        raise DecodeError("a string that is not UTF-8") from None


def encode_uint(n: int) -> bytes:
    """Write a varUint, ``0 <= n <= 2**53 - 1``. Raises :class:`ValueError` for other numbers."""
    if 0 <= n < 128:
        return _ONE_BYTE[n]
    if not 0 <= n <= MAX_UINT:
        raise ValueError(f"{n} is not in 0 ... 2**53 - 1")
    if n < 16384:
        return bytes((n & 127 | 128, n >> 7))
    if 2**28 <= n < 2**35:  # nearly all Yjs client ids
        return bytes((n & 127 | 128, n >> 7 & 127 | 128, n >> 14 & 127 | 128, n >> 21 & 127 | 128, n >> 28))
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def encode_bytes(b: bytes) -> bytes:
    """Write a varUint8Array."""
    return encode_uint(len(b)) + b


def encode_string(s: str) -> bytes:
    """Write a varString. Raises :class:`UnicodeEncodeError` (a ``ValueError``) for lone surrogates."""
    raw = s.encode()
    return encode_uint(len(raw)) + raw
