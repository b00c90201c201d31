"""Bytes of a Yjs update (encoding v1) -> structs and deletions, by a reader whose every step is bounded.

The CRDT library behind it trusts its input: lengths of zero, clocks near 2**32, deep nesting or text that is
no UTF-8 end the process there. So whatever is read here has been checked for everything that bytes alone can
tell, and is refused as :class:`Malformed` where Yjs or Yrs would throw, disagree with each other, or come to
harm. Facts: https://github.com/yjs/yjs ``src/utils/encoding.js``, ``src/structs/*.js``;
https://github.com/y-crdt/y-crdt ``yrs/src/update.rs``, ``block.rs``, ``any.rs``.

Refused although Yjs knows them: content JSON (2; no Yjs since 2020 writes it, Yrs cannot read its own back),
sub-documents (9; overwriting one is a use after free in Yrs 0.28) and ``Y.XmlHook`` (Yrs misreads it).
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from collab.errors import InvalidRequest
from presence.lib0 import MAX_UINT, DecodeError, encode_uint, read_uint

MAX_CLIENT = MAX_UINT
"""Largest client id: what JavaScript counts exactly."""
MAX_CLOCK = 2**31 - 1
"""No clock reaches this: Yrs calculates clocks in signed 32 bits."""
MAX_VALUE_DEPTH = 64
"""Arrays and objects in each other inside one plain value."""
MAX_PARTS = 500_000
"""Structs and deletions of one update: reading as many takes about a second, and 200 MB while it lasts."""
MAX_KEY_BYTES = 4096
"""Of a key of a map, an attribute or a format."""
MAX_NAME_BYTES = 1024
"""Of the name of a root type or an XML element."""

GC, DELETED, BINARY, STRING, EMBED, FORMAT, TYPE, ANY, SKIP = 0, 1, 3, 4, 5, 6, 7, 8, 10
"""``ref`` of a struct: what it contains."""
_FILLERS = (GC, SKIP)
_USUAL_SIZE = 5  # bytes of nearly all of Yjs' client ids, which are random numbers of 32 bits

Id: TypeAlias = tuple[int, int]
"""``(client, clock)`` of one element."""

Struct: TypeAlias = tuple[int, int, int, int, Id | None, Id | None, Id | str | None, str | None, int, int]
"""``(client, clock, length, ref, origin, right, parent, key, start, end)``.

``origin`` and ``right`` are the neighbours that the writer saw. ``parent`` is the name of a root, the id of
the item that holds a nested type, or ``None`` where a neighbour tells it; ``key`` is given only along with
``parent``, and only by what lies in a map or is an attribute. The content is ``update[start:end]`` (GC and Skip:
empty).
"""

Delete: TypeAlias = tuple[int, int, int]
"""``(client, clock, length)`` of a range of deleted elements; ``length`` is at least 1."""


Pairs: TypeAlias = dict[int, "array[int]"]
"""Client id -> clocks, rising, of the first halves of characters that count as two elements."""


class Malformed(InvalidRequest):
    """Not a Yjs update that this server takes in; the message says what is wrong with it."""


class TooManyParts(Malformed):
    """An update of more structs and deletions than may be read at once."""

    close_code, http_status = 4413, 413


def decode(update: bytes) -> tuple[list[Struct], list[Delete]]:
    """Read an update of any size. Raises :class:`Malformed`."""
    structs, deletes, _ = read(update, len(update))
    return structs, deletes


def read(update: bytes, limit: int) -> tuple[list[Struct], list[Delete], Pairs]:
    """Read an update: its structs by client and clock, its deletions, and its surrogate pairs.

    Raises :class:`Malformed`, and :class:`TooManyParts` if there are more than ``limit`` structs and deletions.
    """
    try:
        return _read(update, limit)
    except IndexError:
        raise Malformed("the update ends too early") from None
    except UnicodeDecodeError:
        raise Malformed("a string is not UTF-8") from None
    except DecodeError as error:
        raise Malformed(str(error)) from None


def decode_state_vector(data: bytes) -> dict[int, int]:
    """Read a state vector: client id -> next clock. Raises :class:`Malformed`."""
    state: dict[int, int] = {}
    end = len(data)
    try:
        count, i = read_uint(data, 0)
        if count > end - i:
            raise Malformed("more clients are announced than the bytes can hold")
        for _ in range(count):
            client, i = read_uint(data, i)
            clock, i = read_uint(data, i)
            if client in state:
                raise Malformed("a client is listed twice")
            if clock > MAX_CLOCK:
                raise Malformed("a clock is out of range")
            state[client] = clock
    except DecodeError as error:
        raise Malformed(str(error)) from None
    if i != end:
        raise Malformed("there are bytes behind the state vector")
    return state


def encode_state_vector(state: Mapping[int, int]) -> bytes:
    """Write a state vector. Clients whose clock is 0 are left out: nothing is known of them."""
    known = [n for client, clock in state.items() if clock for n in (client, clock)]
    return encode_uint(len(known) // 2) + b"".join(map(encode_uint, known))


def _id(b: bytes, i: int, names: dict[bytes, int]) -> tuple[Id, int]:
    """Read an id. ``names`` remembers client ids by their bytes: reading five of them takes longer than this."""
    client = names.get(b[i : i + _USUAL_SIZE])
    if client is not None:
        i += _USUAL_SIZE
    else:
        start = i
        client, i = read_uint(b, i)
        if i - start == _USUAL_SIZE:
            names[b[start:i]] = client
    clock = b[i]
    if clock < 128:
        return (client, clock), i + 1
    clock, i = read_uint(b, i)
    return (client, clock), i


def _read(b: bytes, limit: int) -> tuple[list[Struct], list[Delete], Pairs]:
    end = len(b)
    structs: list[Struct] = []
    pairs: Pairs = {}
    origin: Id | None
    right: Id | None
    parent: Id | str | None
    key: str | None
    count, i = read_uint(b, 0)
    clients: set[int] = set()
    names: dict[bytes, int] = {}
    for _ in range(count):
        n, i = read_uint(b, i)
        client, i = read_uint(b, i)
        clock, i = read_uint(b, i)
        if not 0 < n <= end - i:
            raise Malformed("a client's block has no structs, or more than the bytes can hold")
        if client in clients:
            raise Malformed("a client is listed twice")
        clients.add(client)
        if clock > MAX_CLOCK:
            raise Malformed("a clock is out of range")
        limit -= n
        if limit < 0:
            raise TooManyParts("too many structs in one update")
        for _ in range(n):
            info = b[i]
            i += 1
            ref = info & 31
            if ref in _FILLERS:
                if info != ref:
                    raise Malformed("a filler has flags")
                length, i = read_uint(b, i)
                structs.append((client, clock, length, ref, None, None, None, None, i, i))
            else:
                origin = right = parent = key = None
                if info & 128:
                    origin, i = _id(b, i, names)
                if info & 64:
                    right, i = _id(b, i, names)
                if not info & 192:
                    parent, key, i = _read_parent(b, i, end, info, names)
                start = i
                if ref == STRING:
                    length = b[i]
                    if length < 128:
                        i += 1
                    else:
                        length, i = read_uint(b, i)
                    content = b[i : i + length]
                    i += length
                    if i > end:
                        raise IndexError
                    if not content.isascii():
                        text = content.decode()
                        length = len(text.encode("utf-16-le")) // 2
                        if length != len(text):
                            _find_pairs(text, clock, pairs.setdefault(client, array("I")))
                elif ref == ANY:
                    length, i = read_uint(b, i)
                    if length > end - i:
                        raise Malformed("more values are announced than the bytes can hold")
                    for _ in range(length):
                        i = _skip_any(b, i, end, 0)
                else:
                    length, i = _skip_content(b, i, end, ref)
                structs.append((client, clock, length, ref, origin, right, parent, key, start, i))
            if not length:
                raise Malformed("a struct has no length")
            clock += length
            if clock > MAX_CLOCK:
                raise Malformed("a clock is out of range")
    deletes, i = _read_deletes(b, i, limit)
    if i != end:
        raise Malformed("there are bytes behind the update")
    return structs, deletes, pairs


def _read_parent(b: bytes, i: int, end: int, info: int, names: dict[bytes, int]) -> tuple[Id | str, str | None, int]:
    kind, i = read_uint(b, i)
    parent: Id | str
    if kind == 1:
        parent, i = _string(b, i, end, MAX_NAME_BYTES)
    elif kind == 0:
        parent, i = _id(b, i, names)
    else:
        raise Malformed("a parent is neither a name nor an id")
    if info & 32:
        key, i = _string(b, i, end, MAX_KEY_BYTES)
        return parent, key, i
    return parent, None, i


def _skip_content(b: bytes, i: int, end: int, ref: int) -> tuple[int, int]:
    """The length and the end of content that is neither a string nor plain values."""
    if ref == DELETED:
        return read_uint(b, i)
    if ref == TYPE:
        kind = b[i]
        i += 1
        if kind > 6 or kind == 5:
            raise Malformed("an unknown kind of type")
        if kind == 3:
            _, i = _string(b, i, end, MAX_NAME_BYTES)
        return 1, i
    if ref == FORMAT:
        _, i = _string(b, i, end, MAX_KEY_BYTES)
        return 1, _skip_json(b, i, end)
    if ref == EMBED:
        return 1, _skip_json(b, i, end)
    if ref == BINARY:
        size, i = read_uint(b, i)
        if size > end - i:
            raise IndexError
        return 1, i + size
    raise Malformed("content of a kind that is not taken in")


def _read_deletes(b: bytes, i: int, limit: int) -> tuple[list[Delete], int]:
    deletes: list[Delete] = []
    count, i = read_uint(b, i)
    if not count:
        return deletes, i
    clients: set[int] = set()
    for _ in range(count):
        client, i = read_uint(b, i)
        n, i = read_uint(b, i)
        if client in clients:
            raise Malformed("a client is listed twice")
        clients.add(client)
        if n > len(b) - i:
            raise Malformed("more deletions are announced than the bytes can hold")
        limit -= n
        if limit < 0:
            raise TooManyParts("too many deletions in one update")
        for _ in range(n):
            clock, i = read_uint(b, i)
            length, i = read_uint(b, i)
            if not length:
                raise Malformed("a deletion has no length")
            if clock + length > MAX_CLOCK:
                raise Malformed("a clock is out of range")
            deletes.append((client, clock, length))
    return deletes, i


def _find_pairs(text: str, clock: int, pairs: array[int]) -> None:
    """Add the surrogate pairs of ``text``, which begins at ``clock``."""
    for match in _ASTRAL.finditer(text):
        pairs.append(clock + match.start())
        clock += 1


def _string(b: bytes, i: int, end: int, limit: int) -> tuple[str, int]:
    size, i = read_uint(b, i)
    if size > end - i:
        raise IndexError
    if size > limit:
        raise Malformed(f"a name or key of more than {limit} bytes")
    return b[i : i + size].decode(), i + size


def _skip_any(b: bytes, i: int, end: int, depth: int) -> int:
    """The end of one value in the encoding that lib0 calls "any"."""
    kind = b[i]
    i += 1
    if kind == 119:  # string
        size, i = read_uint(b, i)
        start = i
        i += size
        if i > end:
            raise IndexError
        b[start:i].decode()
    elif kind == 125:  # integer: sign and six bits, then seven bits a byte
        return _skip_int(b, i)
    elif kind >= 126 or kind == 120 or kind == 121:  # undefined, null, true, false
        if kind > 127:
            raise Malformed("a value of an unknown kind")
    elif kind == 123 or kind == 122:  # float64, bigint
        i += 8
    elif kind == 124:  # float32
        i += 4
    elif kind == 118 or kind == 117:  # object, array
        if depth >= MAX_VALUE_DEPTH:
            raise Malformed("a value is nested too deeply")
        count, i = read_uint(b, i)
        if count > end - i:
            raise Malformed("more values are announced than the bytes can hold")
        for _ in range(count):
            if kind == 118:
                key, i = _string(b, i, end, MAX_KEY_BYTES)
                if key == "__proto__":  # lib0 assigns it: every reader's object would get another prototype
                    raise Malformed("an object has a key named __proto__")
            i = _skip_any(b, i, end, depth + 1)
    elif kind == 116:  # bytes
        size, i = read_uint(b, i)
        i += size
    else:
        raise Malformed("a value of an unknown kind")
    if i > end:
        raise IndexError
    return i


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


def _skip_json(b: bytes, i: int, end: int) -> int:
    """The end of a JSON text. It must be strict JSON, and mean the same to JavaScript, Rust and us."""
    size, i = read_uint(b, i)
    if size > end - i:
        raise IndexError
    text = b[i : i + size]
    if text in _PLAIN_JSON:
        return i + size
    try:
        value = _parse_json(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise Malformed("a format or an embed is not strict JSON") from None
    if text.count(b"[") + text.count(b"{") > MAX_VALUE_DEPTH or _LONG_NUMBER.search(text):
        _check_json(value)
    return i + size


_ASTRAL = re.compile("[\U00010000-\U0010ffff]")
_PLAIN_JSON = frozenset((b"true", b"null", b"false", b'""', b"{}"))
_LONG_NUMBER = re.compile(rb"[0-9]{19}")
_parse_json = msgspec.json.Decoder().decode


def _check_json(value: Any) -> None:
    level = [[value]]
    for _ in range(MAX_VALUE_DEPTH + 1):
        inner: list[Any] = []
        for container in level:
            for item in container.values() if isinstance(container, dict) else container:
                if isinstance(item, dict | list):
                    inner.append(item)
                elif isinstance(item, int) and (2**63 <= item < 2**64 or abs(item) >= 10**308):
                    # Yrs refuses those that fit in an unsigned 64-bit number only, and those beyond a float
                    raise Malformed("a number in JSON is out of range")
        if not inner:
            return
        level = inner
    raise Malformed("a value is nested too deeply")
