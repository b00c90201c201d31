"""The Yjs update encoding (v1), as far as the load needs it: cheap writers and readers.

A client of the load has no document: a :class:`Line` knows only the ids of its own characters and
of its two neighbours, which are all that a Yjs client puts into the update of a keystroke.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator

Id = tuple[int, int]

ROOT = "content"
STRING, DELETED, GC, SKIP = 4, 1, 0, 10
HAS_ORIGIN, HAS_RIGHT = 0x80, 0x40
NOTHING = b"\x00\x00"
"""The empty update; its first byte alone is the state vector of an empty document."""


def uint(n: int) -> bytes:
    """``n`` as a varUint."""
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def string(s: bytes) -> bytes:
    """Bytes with their length in front: varString of UTF-8, or varUint8Array."""
    return uint(len(s)) + s


def read_uint(data: bytes, pos: int) -> tuple[int, int]:
    """The varUint at ``pos``, and where it ends."""
    value = shift = 0
    while True:
        byte = data[pos]
        pos += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, pos
        shift += 7


def insert(text: bytes, origin: Id | None, right: Id | None, root: str = ROOT) -> bytes:
    """The struct (without its client's header) of ASCII ``text`` inserted between two characters."""
    info = STRING | (HAS_ORIGIN if origin else 0) | (HAS_RIGHT if right else 0)
    out = bytes([info])
    for neighbour in (origin, right):
        if neighbour:
            out += uint(neighbour[0]) + uint(neighbour[1])
    if not origin and not right:
        out += b"\x01" + string(root.encode())
    return out + string(text)


def update(item: Id, struct: bytes) -> bytes:
    """An update of one struct and no deletes."""
    return b"\x01\x01" + uint(item[0]) + uint(item[1]) + struct + b"\x00"


class Line:
    """One person typing at the end of a line of their own."""

    def __init__(self, client: int, before: Id | None, after: Id | None) -> None:
        self.client = client
        self.clock = 0
        self._before = before
        self._after = after
        head = uint(client)
        self._head = b"\x01\x01" + head
        self._origin = bytes([STRING | HAS_ORIGIN | (HAS_RIGHT if after else 0)]) + head
        self._tail = (uint(after[0]) + uint(after[1]) if after else b"") + b"\x01"

    def type(self, character: bytes) -> bytes:
        """The update of one ASCII character typed at the end of the line."""
        clock = self.clock
        self.clock = clock + 1
        if clock == 0:
            own = (self.client, 0)
            return update(own, insert(character, self._before, self._after))
        return b"".join((self._head, uint(clock), self._origin, uint(clock - 1), self._tail, character, b"\x00"))


def lines(client: int, count: int) -> tuple[bytes, list[tuple[Id | None, Id | None]]]:
    """Make a document of ``count`` empty lines by one client: its update, and the two neighbours of each line."""
    first = (client, 0)
    base = update(first, insert(b"\n" * count, None, None))
    ends: list[tuple[Id | None, Id | None]] = [
        ((client, i), (client, i + 1) if i + 1 < count else None) for i in range(count)
    ]
    return base, ends


def runs(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the insertions of an update: (client, first clock, length) per struct, in its order."""
    groups, pos = read_uint(data, 0)
    for _ in range(groups):
        count, pos = read_uint(data, pos)
        client, pos = read_uint(data, pos)
        clock, pos = read_uint(data, pos)
        for _ in range(count):
            info = data[pos]
            kind = info & 31
            pos += 1
            if kind not in (GC, SKIP):
                for flag in (HAS_ORIGIN, HAS_RIGHT):
                    if info & flag:
                        _, pos = read_uint(data, pos)
                        _, pos = read_uint(data, pos)
                if not info & (HAS_ORIGIN | HAS_RIGHT):
                    named, pos = read_uint(data, pos)
                    if named != 1:
                        raise ValueError("the load makes no nested types")
                    size, pos = read_uint(data, pos)
                    pos += size
            length, pos = read_uint(data, pos)
            if kind == STRING:
                pos += length
            elif kind not in (GC, SKIP, DELETED):
                raise ValueError(f"the load makes no content of kind {kind}")
            if kind != SKIP:
                yield client, clock, length
            clock += length


def state_vector(data: bytes) -> dict[int, int]:
    """Decode a state vector: client → next clock."""
    count, pos = read_uint(data, 0)
    state = {}
    for _ in range(count):
        client, pos = read_uint(data, pos)
        clock, pos = read_uint(data, pos)
        state[client] = clock
    return state


def awareness(client: int, clock: int, state: str) -> bytes:
    """An awareness payload with one client's state (JSON)."""
    return b"\x01" + uint(client) + uint(clock) + string(state.encode())


def moves(payload: bytes) -> Iterator[tuple[int, int]]:
    """(client, ``seq`` of its state) of each :func:`cursor` in an awareness payload.

    The sequence number is in the state, because a server may choose awareness clocks itself.
    """
    count, pos = read_uint(payload, 0)
    for _ in range(count):
        client, pos = read_uint(payload, pos)
        _, pos = read_uint(payload, pos)
        size, pos = read_uint(payload, pos)
        found = SEQUENCE.search(payload, pos, pos + size)
        if found:
            yield client, int(found[1])
        pos += size


SEQUENCE = re.compile(rb'"seq":(\d+)')


def cursor(sequence: int, name: str, anchor: Id) -> str:
    """An awareness state as y-codemirror.next writes it (a user, a cursor of two relative positions), numbered."""
    where = {"type": None, "tname": ROOT, "item": {"client": anchor[0], "clock": anchor[1]}, "assoc": 0}
    user = {"name": name, "color": "#30bced", "colorLight": "#30bced33"}
    state = {"user": user, "cursor": {"anchor": where, "head": where}, "seq": sequence}
    return json.dumps(state, separators=(",", ":"))


WORDS = ["the", "of", "and", "to", "in", "is", "that", "for", "it", "was", "on", "are", "as", "with", "they"]


def document(size: int, seed: int = 1, authors: int = 8, batch: int = 128 * 1024) -> Iterator[bytes]:
    """Updates of about ``batch`` bytes that build a text of about ``size`` encoded bytes.

    Eight authors wrote it in turns: paragraphs of about 200 characters, each an item of its own, and one in
    sixteen deleted again. Every update continues what came before it.
    """
    rng = random.Random(seed)
    clients = [rng.getrandbits(31) + 1 for _ in range(authors)]
    clocks = [0] * authors
    last: Id | None = None
    written = 0
    while written < size:
        structs: dict[int, list[bytes]] = {}
        starts: dict[int, int] = {}
        deletes: dict[int, list[bytes]] = {}
        pending = 0
        while pending < batch and written < size:
            who = rng.randrange(authors)
            text = " ".join(rng.choices(WORDS, k=rng.randrange(20, 80))).encode() + b"\n"
            item = (clients[who], clocks[who])
            starts.setdefault(who, clocks[who])
            struct = insert(text, last, None)
            structs.setdefault(who, []).append(struct)
            clocks[who] += len(text)
            last = (clients[who], clocks[who] - 1)
            if rng.randrange(16) == 0:
                deletes.setdefault(who, []).append(uint(item[1]) + uint(len(text)))
            else:
                written += len(struct)
            pending += len(struct)
        out = bytearray(uint(len(structs)))
        for who in sorted(structs, key=lambda i: -clients[i]):
            out += uint(len(structs[who])) + uint(clients[who]) + uint(starts[who]) + b"".join(structs[who])
        out += uint(len(deletes))
        for who, ranges in deletes.items():
            out += uint(clients[who]) + uint(len(ranges)) + b"".join(ranges)
        yield bytes(out)
