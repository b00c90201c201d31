"""The content of a struct: where it ends, and whether it can be accepted as it is.

Content that no replica could read is :class:`Malformed`. Content that Yjs can read, but Yrs cannot store or is harmed
by, is :class:`Untaken`: its end is known, so everything around it can be accepted; it is re-encoded or left out. Facts:
https://github.com/yjs/yjs ``src/structs/Content*.js``; https://github.com/dmonad/lib0 ``readAny``;
https://github.com/y-crdt/y-crdt ``yrs/src/block.rs``, ``any.rs``.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from collab.errors import InvalidRequest
from collab.gate.any_values import write_any
from collab.gate.limits import MAX_CLIENT, MAX_KEY_BYTES, MAX_NAME_BYTES, MAX_VALUE_DEPTH
from presence.lib0 import encode_bytes, encode_uint, read_uint

GC, DELETED, JSON, BINARY, STRING, EMBED, FORMAT, TYPE, ANY, SUBDOCUMENT, SKIP = range(11)
"""``ref`` of a struct: the kind of its content."""

_ELEMENT, _HOOK = 3, 5  # kinds of types that have a name
_KINDS = 7
_SUBDOCUMENT = "a sub-document"  # overwriting one is a use after free in Yrs 0.28
_XML_HOOK = "an XML hook"  # Yrs misreads it
_LONG_KEY = f"a key of more than {MAX_KEY_BYTES} bytes"
_LONG_NAME = f"a name of more than {MAX_NAME_BYTES} bytes"
_DEEP_VALUE = f"a value of more than {MAX_VALUE_DEPTH} levels"
_PROTOTYPE = "a key named __proto__"
_LARGE_NUMBER = "a number beyond JavaScript's range"
_OLD_JSON = "a value that is not JSON"

PROTO = "__proto__"
"""No key and no root has this name: JavaScript would change the prototype of the object, and readers of MessagePack
refuse the whole message."""


class Malformed(InvalidRequest):
    """Not a Yjs update that this server accepts; the message says why."""


class Untaken(Exception):
    """Content that cannot be accepted as it is.

    ``length`` and ``end`` are those of the content; ``ref`` and ``content`` are an acceptable encoding of it. Without a
    ``ref`` the content is left out, and the message is the reason.
    """

    def __init__(self, why: str, length: int = 0, end: int = 0, ref: int | None = None, content: bytes = b"") -> None:
        super().__init__(why)
        self.length, self.end, self.ref, self.content = length, end, ref, content


def skip_content(b: bytes, i: int, end: int, ref: int) -> tuple[int, int]:
    """The length and the end of content that is neither a string nor plain values.

    Raises :class:`Untaken`, :class:`Malformed`, :class:`IndexError` and :class:`UnicodeDecodeError`.
    """
    if ref == DELETED:
        return read_uint(b, i)
    if ref == TYPE:
        kind = b[i]
        i += 1
        if kind >= _KINDS:
            raise Malformed("a type of unknown kind")
        if kind in (_ELEMENT, _HOOK):
            start = i
            i = _skip_string(b, i, end)
            if kind == _HOOK:
                raise Untaken(_XML_HOOK, 1, i)
            if _is_long(b, start, i, MAX_NAME_BYTES):
                raise Untaken(_LONG_NAME, 1, i)
        return 1, i
    if ref == FORMAT:
        behind_key = _skip_string(b, i, end)
        why = _PROTOTYPE if _is_proto(b, i, behind_key) else ""
        if _is_long(b, i, behind_key, MAX_KEY_BYTES):
            why = _LONG_KEY
        try:
            after = _skip_json(b, behind_key, end)
        except Untaken as untaken:
            if untaken.ref is not None:
                untaken.ref, untaken.content = FORMAT, b[i:behind_key] + untaken.content
            if not why:
                raise
            after = untaken.end
        if why:
            raise Untaken(why, 1, after)
        return 1, after
    if ref == EMBED:
        return 1, _skip_json(b, i, end)
    if ref == BINARY:
        return 1, _skip_bytes(b, i, end)
    if ref == SUBDOCUMENT:
        raise Untaken(_SUBDOCUMENT, 1, _skip_any_value(b, _skip_string(b, i, end), end))
    if ref == JSON:
        raise _from_json(b, i, end)
    raise Malformed("content of unknown kind")


def skip_any(b: bytes, i: int, end: int, depth: int) -> int:
    """The end of one value in lib0's "any" encoding. Raises as :func:`skip_content`."""
    kind = b[i]
    i += 1
    if kind == 119:  # string
        size, i = read_uint(b, i)
        start = i
        i += size
        if i > end:
            raise IndexError
        b[start:i].decode()
    elif kind == 125:  # integer: sign and six bits, then seven bits per byte
        return _skip_int(b, i)
    elif kind >= 126 or kind == 120 or kind == 121:  # undefined, null, true, false
        if kind > 127:
            raise Malformed("a value of unknown kind")
    elif kind == 123 or kind == 122:  # float64, bigint
        i += 8
    elif kind == 124:  # float32
        i += 4
    elif kind == 118 or kind == 117:  # object, array
        if depth >= MAX_VALUE_DEPTH:
            raise Untaken(_DEEP_VALUE)
        count, i = read_uint(b, i)
        if count > end - i:
            raise Malformed("more values are announced than the bytes can hold")
        for _ in range(count):
            if kind == 118:
                start = i
                i = _skip_string(b, i, end)
                if _is_long(b, start, i, MAX_KEY_BYTES):
                    raise Untaken(_LONG_KEY)
                if _is_proto(b, start, i):
                    raise Untaken(_PROTOTYPE)
            i = skip_any(b, i, end, depth + 1)
    elif kind == 116:  # bytes
        size, i = read_uint(b, i)
        i += size
    else:
        raise Malformed("a value of unknown kind")
    if i > end:
        raise IndexError
    return i


def split_values(b: bytes, i: int, end: int, length: int) -> list[tuple[int, int, int, str]]:
    """Runs of plain values: how many, start, end, and why they are refused ("" if they are accepted)."""
    pieces: list[tuple[int, int, int, str]] = []
    for _ in range(length):
        start, why = i, ""
        try:
            i = skip_any(b, i, end, 0)
        except Untaken as untaken:
            why = str(untaken)
            i = _skip_any_value(b, i, end)
        if pieces and pieces[-1][3] == why:
            pieces[-1] = (pieces[-1][0] + 1, pieces[-1][1], i, why)
        else:
            pieces.append((1, start, i, why))
    return pieces


def _skip_any_value(b: bytes, i: int, end: int) -> int:
    """The end of a value of any depth, with any keys."""
    open_: list[list[int]] = [[1, 0]]  # values to come, and whether each has a key
    while open_:
        rest = open_[-1]
        if not rest[0]:
            open_.pop()
            continue
        rest[0] -= 1
        if rest[1]:
            i = _skip_string(b, i, end)
        kind = b[i]
        if kind == 118 or kind == 117:
            count, i = read_uint(b, i + 1)
            if count > end - i:
                raise Malformed("more values are announced than the bytes can hold")
            open_.append([count, kind == 118])
        else:
            i = skip_any(b, i, end, 0)
    return i


def _skip_bytes(b: bytes, i: int, end: int) -> int:
    size, i = read_uint(b, i)
    if size > end - i:
        raise IndexError
    return i + size


def _skip_string(b: bytes, i: int, end: int) -> int:
    size, i = read_uint(b, i)
    if size > end - i:
        raise IndexError
    b[i : i + size].decode()
    return i + size


def _is_long(b: bytes, start: int, end: int, limit: int) -> bool:
    """Whether the string at ``start`` has more than ``limit`` bytes."""
    return end - start > limit and read_uint(b, start)[0] > limit


def _is_proto(b: bytes, start: int, end: int) -> bool:
    """Whether the string at ``start`` is ``__proto__``."""
    return end - start > 9 and b[end - 9 : end] == b"__proto__" and read_uint(b, start)[0] == 9


def _skip_int(b: bytes, i: int) -> int:
    byte = b[i]
    value = byte & 63
    shift = 6
    while byte & 128:
        if shift > 48:
            raise Malformed("a number above 2**53 - 1")
        i += 1
        byte = b[i]
        value |= (byte & 127) << shift
        shift += 7
    if value > MAX_CLIENT:
        raise Malformed("a number above 2**53 - 1")
    return i + 1


# JSON


def _skip_json(b: bytes, i: int, end: int) -> int:
    """The end of a JSON text. It must be strict JSON with the same meaning in JavaScript, Rust and Python."""
    size, i = read_uint(b, i)
    if size > end - i:
        raise IndexError
    text = b[i : i + size]
    i += size
    if text in _PLAIN_JSON:
        return i
    value, is_same = _read_json(text)
    if text.count(b"[") + text.count(b"{") > MAX_VALUE_DEPTH or _LONG_NUMBER.search(text):
        why, value, is_same = _mend_numbers(value, is_same)
        if why:
            raise Untaken(why, 1, i)
    if (b"__proto__" in text or b"\\u" in text) and _has_proto(value):
        raise Untaken(_PROTOTYPE, 1, i)
    if not is_same:
        raise Untaken("", 1, i, EMBED, encode_bytes(msgspec.json.encode(value)))
    return i


def _read_json(text: bytes) -> tuple[Any, bool]:
    """The value of a JSON text, and whether the text is free of lone surrogates.

    A lone surrogate is legal in JavaScript only; strings on the wire have U+FFFD in its place, so we replace it in
    JSON, too.
    """
    try:
        return _parse_json(text), True
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        pass
    try:
        return _parse_json(_ESCAPE.sub(lambda match: b"\\ufffd" if match[1] else match[0], text)), False
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise Malformed("a format or an embed is not strict JSON") from None


def _has_proto(value: Any) -> bool:
    """Whether any object in a JSON value, of at most :data:`MAX_VALUE_DEPTH` levels, has the key ``__proto__``."""
    if isinstance(value, dict):
        return PROTO in value or any(map(_has_proto, value.values()))
    return isinstance(value, list) and any(map(_has_proto, value))


def _mend_numbers(value: Any, is_same: bool) -> tuple[str, Any, bool]:
    """Returns the reason to refuse a JSON value (or ""), the value with numbers that Yrs reads, whether it is
    unchanged.

    Yrs refuses integers that only fit in an unsigned 64-bit number; in JavaScript all of them are floats.
    """
    root = [value]
    level: list[Any] = [root]
    for _ in range(MAX_VALUE_DEPTH + 1):
        inner: list[Any] = []
        for container in level:
            for key, item in list(container.items() if isinstance(container, dict) else enumerate(container)):
                if isinstance(item, dict | list):
                    inner.append(item)
                elif isinstance(item, int) and 2**63 <= item < 2**64:
                    container[key] = float(item)
                    is_same = False
                elif isinstance(item, int) and abs(item) >= 10**308:
                    return _LARGE_NUMBER, None, False
        if not inner:
            return "", root[0], is_same
        level = inner
    return _DEEP_VALUE, None, False


def _from_json(b: bytes, i: int, end: int) -> Untaken:
    """Contents of Yjs before 13.0 (JSON texts) as the plain values of today's Yjs; Yrs cannot read the old form."""
    length, i = read_uint(b, i)
    if length > end - i:
        raise Malformed("more values are announced than the bytes can hold")
    out = [encode_uint(length)]
    why = ""
    for _ in range(length):
        start = i
        i = _skip_string(b, i, end)
        text = b[read_uint(b, start)[1] : i]
        if text == b"undefined":
            out.append(b"\x7f")
            continue
        try:
            out.append(write_any(_as_numbers(_read_json(text)[0])))
        except (InvalidRequest, RecursionError):
            why = _OLD_JSON
    return Untaken(why, length, i) if why else Untaken("", length, i, ANY, b"".join(out))


def _as_numbers(value: Any) -> Any:
    """The value with floats for integers beyond JavaScript's safe range."""
    if isinstance(value, list):
        return [_as_numbers(item) for item in value]
    if isinstance(value, dict):
        return {key: _as_numbers(item) for key, item in value.items()}
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > MAX_CLIENT:
        try:
            return float(value)
        except OverflowError:
            raise InvalidRequest(_LARGE_NUMBER) from None
    return value


_PLAIN_JSON = frozenset((b"true", b"null", b"false", b'""', b"{}"))
_LONG_NUMBER = re.compile(rb"[0-9]{19}")
_parse_json = msgspec.json.Decoder().decode
# JSON escapes, each matched from its beginning: a surrogate pair, a lone surrogate, any other
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.", re.DOTALL
)
