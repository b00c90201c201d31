"""Reader of Yjs updates (encoding v1): bytes -> structs and deletions, with every step bounded.

The CRDT library trusts its input: zero lengths, clocks near 2**32, deep nesting or invalid UTF-8 crash the process. So
this reader checks everything that the bytes alone can tell, and raises :class:`Malformed` where Yjs or Yrs would throw,
disagree with each other, or be harmed. Facts: https://github.com/yjs/yjs ``src/utils/encoding.js``,
``src/structs/*.js``; https://github.com/y-crdt/y-crdt ``yrs/src/update.rs``, ``block.rs``, ``any.rs``.

Content that cannot be accepted as it is, but whose end is known (:mod:`collab.gate.struct_content`), is read as
something else: in another encoding, or as deleted. Then :class:`Parts` differ from the original bytes and must be
encoded anew.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from collab.gate.limits import MAX_CLOCK, MAX_KEY_BYTES, MAX_NAME_BYTES
from collab.gate.struct_content import (
    ANY,
    DELETED,
    GC,
    PROTO,
    SKIP,
    STRING,
    Malformed,
    Untaken,
    skip_any,
    skip_content,
    split_values,
)
from presence.lib0 import DecodeError, encode_uint, read_uint

_FILLERS = (GC, SKIP)
_USUAL_SIZE = 5  # bytes of nearly all Yjs client ids, which are random 32-bit numbers

Id: TypeAlias = tuple[int, int]
"""``(client, clock)`` of one element."""

Struct: TypeAlias = tuple[int, int, int, int, Id | None, Id | None, Id | str | None, str | None, int, int]
"""``(client, clock, length, ref, origin, right, parent, key, start, end)``.

``origin`` and ``right`` are the left and right origin. ``parent`` is the name of a root type, the id of the item that
holds a nested type, or ``None`` if an origin implies it; ``key`` is present only with ``parent``, and only for entries
of maps and attributes. The content is ``update[start:end]`` (GC and Skip: empty).
"""

Neighbours: TypeAlias = tuple[Id, Id]
"""The left and right origin of a new element, as its writer states them."""

DeletedRange: TypeAlias = tuple[int, int, int]
"""``(client, clock, length)`` of a range of deleted elements; ``length`` is at least 1."""


Pairs: TypeAlias = dict[int, "array[int]"]
"""Client id -> sorted clocks of high surrogates, whose characters count as two elements."""


class Refused(NamedTuple):
    """Elements that were not accepted, and why. As deleted or garbage elements, they still anchor later ones."""

    client: int
    clock: int
    length: int
    why: str


@dataclass(slots=True)
class Parts:
    """The parts of an update: structs by client and clock, deletions, surrogate pairs.

    The contents of the structs are slices of ``source``. ``refused`` lists what was read as deleted. ``as_sent``: the
    parts say everything that the bytes say.
    """

    structs: list[Struct]
    deletes: list[DeletedRange]
    pairs: Pairs
    source: bytes
    refused: list[Refused] = field(default_factory=list)
    as_sent: bool = True


class TooManyParts(Malformed):
    """An update with more structs and deletions than may be read at once."""

    close_code, http_status = 4413, 413


def decode(update: bytes) -> tuple[list[Struct], list[DeletedRange]]:
    """Read an update of any size. Raises :class:`Malformed`."""
    parts = read(update, len(update))
    return parts.structs, parts.deletes


def read(update: bytes, limit: int) -> Parts:
    """Read an update.

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
        raise Malformed("there are bytes after the state vector")
    return state


def check_state_vector(data: bytes) -> None:
    """Check that the CRDT library may read a state vector; ten times as fast as :func:`decode_state_vector`.

    Clients may be listed twice and clocks be too large: that affects only the answer to the peer itself. Raises
    :class:`Malformed`.
    """
    try:
        count, _ = read_uint(data, 0)
    except DecodeError as error:
        raise Malformed(str(error)) from None
    if len(data.translate(None, _CONTINUED)) != 1 + 2 * count or data[-1] > 127 or _LONG_UINT.search(data):
        raise Malformed("the length of the state vector is wrong, or its numbers are too large")


def encode_state_vector(state: Mapping[int, int]) -> bytes:
    """Write a state vector. Clients with clock 0 are left out: nothing is known of them."""
    known = [n for client, clock in state.items() if clock for n in (client, clock)]
    return encode_uint(len(known) // 2) + b"".join(map(encode_uint, known))


def _id(b: bytes, i: int, names: dict[bytes, int]) -> tuple[Id, int]:
    """Read an id. ``names`` caches client ids by their bytes, because decoding five bytes takes longer."""
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


def _read(b: bytes, limit: int) -> Parts:
    end = len(b)
    structs: list[Struct] = []
    other: _OtherWords | None = None
    nowhere = False
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
                    raise Malformed("a GC or Skip struct has flags")
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
                    nowhere = parent is None  # a name that is not accepted
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
                    first = i
                    try:
                        for _ in range(length):
                            i = skip_any(b, i, end, 0)
                    except Untaken:
                        pieces = split_values(b, first, end, length)
                        i = pieces[-1][2]
                        if not nowhere:
                            where = (client, clock, length, ref, origin, right, parent, key, start, i)
                            other = other or _OtherWords(end)
                            structs += other.values(b, where, pieces)
                            clock += length
                            if clock > MAX_CLOCK:
                                raise Malformed("a clock is out of range") from None
                            continue
                else:
                    try:
                        length, i = skip_content(b, i, end, ref)
                    except Untaken as untaken:
                        length, i = untaken.length, untaken.end
                        if not nowhere and length:
                            where = (client, clock, length, ref, origin, right, parent, key, start, i)
                            other = other or _OtherWords(end)
                            structs.append(other.struct(where, untaken))
                            clock += length
                            if clock > MAX_CLOCK:
                                raise Malformed("a clock is out of range") from None
                            continue
                if nowhere:
                    nowhere = False
                    other = other or _OtherWords(end)
                    other.refused.append(Refused(client, clock, length, _NAME))
                    structs.append((client, clock, length, GC, None, None, None, None, i, i))
                else:
                    structs.append((client, clock, length, ref, origin, right, parent, key, start, i))
            if not length:
                raise Malformed("a struct has no length")
            clock += length
            if clock > MAX_CLOCK:
                raise Malformed("a clock is out of range")
    deletes, i = _read_deletes(b, i, limit)
    if i != end:
        raise Malformed("there are bytes after the update")
    if other is None:
        return Parts(structs, deletes, pairs, b)
    return Parts(structs, deletes, pairs, b + other.contents, other.refused, as_sent=False)


class _OtherWords:
    """Re-encoded contents: they are appended behind the ``end`` of the update."""

    __slots__ = ("contents", "end", "refused")

    def __init__(self, end: int) -> None:
        self.end = end
        self.contents = bytearray()
        self.refused: list[Refused] = []

    def struct(self, struct: Struct, untaken: Untaken) -> Struct:
        client, clock, length, _, origin, right, parent, key, _, _ = struct
        if untaken.ref is None:
            self.refused.append(Refused(client, clock, length, str(untaken)))
            return (client, clock, length, DELETED, origin, right, parent, key, 0, 0)
        return (client, clock, length, untaken.ref, origin, right, parent, key, *self._add(untaken.content))

    def values(self, b: bytes, struct: Struct, pieces: list[tuple[int, int, int, str]]) -> list[Struct]:
        """One struct for each run of accepted or refused values. Each after the first continues the one before."""
        client, clock, _, _, origin, right, parent, key, _, _ = struct
        structs: list[Struct] = []
        for length, start, end, why in pieces:
            if why:
                self.refused.append(Refused(client, clock, length, why))
                structs.append((client, clock, length, DELETED, origin, right, parent, key, 0, 0))
            else:
                where = self._add(encode_uint(length) + b[start:end])
                structs.append((client, clock, length, ANY, origin, right, parent, key, *where))
            origin, parent, key = (client, clock + length - 1), None, None
            clock += length
        return structs

    def _add(self, content: bytes) -> tuple[int, int]:
        start = self.end + len(self.contents)
        self.contents += content
        return start, start + len(content)


def _read_parent(
    b: bytes, i: int, end: int, info: int, names: dict[bytes, int]
) -> tuple[Id | str | None, str | None, int]:
    """Read the parent, the key, and the position behind them; the parent is ``None`` if a name is not accepted."""
    kind, i = read_uint(b, i)
    parent: Id | str | None
    key = None
    if kind == 1:
        parent, i = _string(b, i, end, MAX_NAME_BYTES)
    elif kind == 0:
        parent, i = _id(b, i, names)
    else:
        raise Malformed("a parent is neither a name nor an id")
    if info & 32:
        key, i = _string(b, i, end, MAX_KEY_BYTES)
        if key is None:
            parent = None
    return parent, key, i


def _read_deletes(b: bytes, i: int, limit: int) -> tuple[list[DeletedRange], int]:
    deletes: list[DeletedRange] = []
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


def _string(b: bytes, i: int, end: int, limit: int) -> tuple[str | None, int]:
    size, i = read_uint(b, i)
    if size > end - i:
        raise IndexError
    text = b[i : i + size].decode()
    return (text if size <= limit and text != PROTO else None), i + size


_CONTINUED = bytes(range(128, 256))  # bytes of a varUint that are not its last
_LONG_UINT = re.compile(rb"[\x80-\xff]{8}")
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")
_NAME = f"a root of more than {MAX_NAME_BYTES} bytes, a key of more than {MAX_KEY_BYTES}, or the name {PROTO}"
