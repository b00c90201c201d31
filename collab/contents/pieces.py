"""Lists of shared types as pieces of items: finding shared elements, splitting and joining."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from collab.contents.items import ItemRun, Type
from collab.gate.struct_content import ANY, STRING
from collab.gate.structs import Id

ItemPiece: TypeAlias = tuple[ItemRun, int, int]
"""Elements of an item, from a start (inclusive) to an end (exclusive)."""


def alive(type_: Type) -> list[ItemPiece]:
    """The current list of a type."""
    return [(item, 0, item.length) for item in type_.items() if not item.deleted]


Apart: TypeAlias = tuple[list[ItemPiece], list[ItemPiece], tuple[ItemPiece, ItemPiece] | None]


def apart(mine: Sequence[ItemPiece], theirs: Sequence[ItemPiece]) -> Iterator[Apart]:
    """Split both lists where they share elements: yields the pieces before each shared one in either list, and that
    one; finally the rest.
    """
    places: dict[int, list[tuple[int, int]]] = {}
    for number, (item, *_) in enumerate(mine):
        places.setdefault(item.client, []).append((item.clock, number))
    for own in places.values():
        own.sort()
    number = done = 0  # our position
    come: list[ItemPiece] = []
    for item, _, length in theirs:
        at = 0
        while at < length:
            shared = _shared(mine, places.get(item.client, ()), item, at, (number, done))
            if shared is None:
                end = _next_start(places.get(item.client, ()), item.clock + at, item.clock + length) - item.clock
                come.append((item, at, end))
                at = end
                continue
            k, start, size = shared
            yield (
                _between(mine, (number, done), (k, start)),
                come,
                ((mine[k][0], start, start + size), (item, at, at + size)),
            )
            come = []
            number, done = k, start + size
            at += size
    yield _between(mine, (number, done), (len(mine), 0)), come, None


def _shared(
    mine: Sequence[ItemPiece], places: Sequence[tuple[int, int]], item: ItemRun, at: int, after: tuple[int, int]
) -> tuple[int, int, int] | None:
    """The place of element ``at`` of ``item`` in our list, and how many elements from there on are shared."""
    clock = item.clock + at
    i = bisect_right(places, (clock, len(mine))) - 1
    if i < 0:
        return None
    number = places[i][1]
    own = mine[number][0]
    start = clock - own.clock
    if start >= own.length or (number, start) < after or own.ref != item.ref:
        return None
    size = min(own.length - start, item.length - at)
    if isinstance(own.content, Type):
        return (number, start, size) if alike(own, item) else None
    if isinstance(own.content, bytes):
        return number, start, size  # possibly in another encoding
    assert isinstance(item.content, str | list)
    if isinstance(own.content, str) and own.content[start : start + size] != item.content[at : at + size]:
        return None
    return number, start, size


def _next_start(places: Sequence[tuple[int, int]], clock: int, end: int) -> int:
    i = bisect_right(places, (clock, 1 << 60))
    return min(end, places[i][0]) if i < len(places) else end


def _between(pieces: Sequence[ItemPiece], start: tuple[int, int], end: tuple[int, int]) -> list[ItemPiece]:
    """The elements between two positions, each the number of a piece and an offset in it."""
    found = []
    for number in range(start[0], min(end[0] + 1, len(pieces))):
        item, first, last = pieces[number]
        if number == start[0]:
            first = start[1]
        if number == end[0]:
            last = end[1]
        if first < last:
            found.append((item, first, last))
    return found


def size_of(pieces: Sequence[ItemPiece]) -> int:
    return sum(end - start for _, start, end in pieces)


def cut(pieces: Sequence[ItemPiece], size: int) -> tuple[list[ItemPiece], list[ItemPiece]]:
    """The first ``size`` elements, and the rest."""
    before: list[ItemPiece] = []
    for number, (item, start, end) in enumerate(pieces):
        if size < end - start:
            if size:
                before.append((item, start, start + size))
            return before, [(item, start + size, end), *pieces[number + 1 :]]
        before.append((item, start, end))
        size -= end - start
    return before, []


def last_of(pieces: Sequence[ItemPiece]) -> Id:
    item, _, end = pieces[-1]
    return item.client, item.clock + end - 1


def shrunk(piece: ItemPiece, done: int, size: int, from_end: bool) -> ItemPiece:
    """``size`` elements of a piece: after the first ``done``, or before the last ``done``."""
    item, start, end = piece
    return (item, end - done - size, end - done) if from_end else (item, start + done, start + done + size)


def joined(pieces: Sequence[ItemPiece]) -> Iterator[ItemPiece]:
    """The same elements in as few pieces as possible: adjacent characters, and adjacent values, become one."""
    rest: list[ItemPiece] = []
    for piece in (*pieces, None):
        if piece is not None and (not rest or (rest[0][0].ref == piece[0].ref and piece[0].ref in (STRING, ANY))):
            rest.append(piece)
            continue
        if len(rest) == 1:
            yield rest[0]
        elif rest:
            yield _one(rest)
        rest = [piece] if piece is not None else []


def _one(pieces: Sequence[ItemPiece]) -> ItemPiece:
    ref, length = pieces[0][0].ref, size_of(pieces)
    content: str | list[bytes]
    if ref == STRING:
        content = "".join(item.content[start:end] for item, start, end in pieces if isinstance(item.content, str))
    else:
        content = [
            part for item, start, end in pieces if isinstance(item.content, list) for part in item.content[start:end]
        ]
    return ItemRun(0, 0, length, ref, content), 0, length


def equal_units(one: str, other: str, from_end: bool) -> int:
    """The number of equal UTF-16 code units from one end; never splits a surrogate pair."""
    if one == other:
        return len(one)
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[-middle:] == other[-middle:] if from_end else one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    if not low:
        return 0
    cut = "\udc00" <= one[-low] <= "\udfff" if from_end else "\ud800" <= one[low - 1] <= "\udbff"
    return low - cut  # do not split a surrogate pair


def alike(one: ItemRun, other: ItemRun) -> bool:
    """Whether both hold shared types of one kind, so that one can be turned into the other by changing its content."""
    mine, theirs = one.content, other.content
    return isinstance(mine, Type) and isinstance(theirs, Type) and (mine.kind, mine.name) == (theirs.kind, theirs.name)
