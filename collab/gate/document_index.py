"""The gate's memory of a document: not its content, but where each of its elements lives.

An element is addressed by ``(client, clock)``. Its *place* is a number: four times the type that contains it, plus
``KEYED`` if it is an entry of a map or an attribute, plus ``GONE`` if it was already deleted when first seen. Type 0 is
nowhere: garbage-collected items, and everything inside them. Neighbours mostly share their place, so places are stored
as runs: a text of any length that one client wrote is one run of eight bytes.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import TypeAlias

from collab.gate.structs import DeletedRange, Id
from presence.lib0 import encode_uint

KEYED, GONE, TYPE_SHIFT = 1, 2, 2
NOWHERE = 0
"""The place of garbage-collected elements."""
USUAL_SIZES = (4, 5, 7, 8)
"""Encoded sizes of nearly all random client ids: 32 bits (Yjs) and 53 bits (Yrs)."""

DELETED_TYPE = 0x8000
"""Added to the depth of a type whose item is deleted."""

NOWHERE_KIND = 8
ROOT_KIND, ROOT_MAP, ROOT_ARRAY, ROOT_TEXT, ROOT_XML = 16, 17, 18, 19, 20
"""Kinds of types beyond those of Yjs (0 array, 1 map, 2 text, 3 XML element, 4 XML fragment, 6 XML text).

Yjs does not encode the kind of a root type. Its content reveals it; the highest number wins.
"""

DocumentIndexDump: TypeAlias = tuple[
    list[tuple[int, int, bytes, bytes, bytes, bytes, bytes]], bytes, bytes, dict[str, int]
]
"""A :class:`DocumentIndex` as values: by client its clock, places, types and pairs; kinds and depths by type; roots."""

_MANY_CLIENTS = 4096


class DocumentIndex:
    """State vector, types, places and surrogate pairs of one document.

    ``state`` maps a client id to its next clock; ``kinds`` and ``depths`` are indexed by type; ``roots`` maps a root
    name to its type; ``clients`` maps encoded client ids to client ids, for recent clients.
    """

    __slots__ = ("clients", "depths", "kinds", "pairs", "rights", "roots", "runs", "state", "types")

    def __init__(self) -> None:
        self.state: dict[int, int] = {}
        self.clients: dict[bytes, int] = {}
        self.rights: dict[int, Id | None] = {}  # right origins of the clients' last structs, since loading
        self.runs: dict[int, tuple[array[int], array[int]]] = {}  # clocks where a run starts, and its place
        self.types: dict[int, tuple[array[int], array[int]]] = {}  # clocks of items that hold a type, and the type
        self.pairs: dict[int, array[int]] = {}  # clocks of high surrogates
        self.kinds = bytearray([NOWHERE_KIND])
        self.depths = array("H", (0,))
        self.roots: dict[str, int] = {}

    def place(self, client: int, clock: int) -> int:
        """The place of a known element."""
        starts, places = self.runs[client]
        return places[bisect_right(starts, clock) - 1]

    def places_between(self, client: int, clock: int, end: int) -> array[int]:
        """The places of the known elements from ``clock`` to ``end``."""
        starts, places = self.runs[client]
        return places[bisect_right(starts, clock) - 1 : bisect_left(starts, end)]

    def never_lived(self, client: int, clock: int, end: int) -> bool:
        """Whether any of the known elements from ``clock`` to ``end`` was already deleted when first seen."""
        return any(place & GONE or not place >> TYPE_SHIFT for place in set(self.places_between(client, clock, end)))

    def type_at(self, client: int, clock: int) -> int:
        """The type that an item holds; 0 if it holds none."""
        found = self.types.get(client)
        if found is None:
            return 0
        clocks, types = found
        i = bisect_left(clocks, clock)
        return types[i] if i < len(clocks) and clocks[i] == clock else 0

    def typed_between(self, client: int, clock: int, end: int) -> Iterable[tuple[int, int]]:
        """The clocks of the items from ``clock`` to ``end`` that hold a type, with these types."""
        clocks, types = self.types.get(client, _NONE)
        found = slice(bisect_left(clocks, clock), bisect_left(clocks, end))
        return zip(clocks[found], types[found], strict=True)

    def is_deleted(self, number: int) -> bool:
        """Whether the item that holds a type is known to be deleted."""
        return bool(self.depths[number] & DELETED_TYPE)

    def delete(self, client: int, clock: int, end: int) -> None:
        """Note that the elements from ``clock`` to ``end`` are deleted."""
        if client in self.types:
            for _, number in self.typed_between(client, clock, end):
                self.depths[number] |= DELETED_TYPE

    def is_pair(self, client: int, clock: int) -> bool:
        """Whether an element is the high surrogate of a pair."""
        return is_among(self.pairs.get(client), clock)

    def cut(self, client: int, clocks: Collection[int]) -> None:
        """Forget surrogate pairs that were replaced by two characters."""
        left = array("I", [clock for clock in self.pairs.get(client, ()) if clock not in clocks])
        if left:
            self.pairs[client] = left
        else:
            self.pairs.pop(client, None)

    def remember(self, client: int) -> None:
        """Note a client's encoded id, because more updates of it are likely."""
        name = encode_uint(client)
        if len(name) in USUAL_SIZES:
            if len(self.clients) >= _MANY_CLIENTS:
                self.clients.clear()
            self.clients[name] = client

    def add_run(self, client: int, clock: int, place: int) -> None:
        """Note that a client's elements live at ``place``, beginning with its next clock."""
        own = self.runs.get(client)
        if own is None:
            self.runs[client] = (array("I", (clock,)), array("I", (place,)))
        elif own[1][-1] != place:
            own[0].append(clock)
            own[1].append(place)

    def add_type(self, client: int, clock: int, kind: int, depth: int) -> None:
        """Register the type that an item holds, under the next number."""
        own = self.types.get(client)
        if own is None:
            own = self.types[client] = (array("I"), array("I"))
        own[0].append(clock)
        own[1].append(len(self.kinds))
        self.kinds.append(kind)
        self.depths.append(depth)

    def add_root(self, name: str) -> None:
        """Register a root of unknown kind, as the type with the next number."""
        self.roots[name] = len(self.kinds)
        self.kinds.append(ROOT_KIND)
        self.depths.append(0)

    def dump(self) -> DocumentIndexDump:
        """Everything, for :meth:`load`."""
        clients = [
            (
                client,
                clock,
                _rising(self.runs[client][0]),
                self.runs[client][1].tobytes(),
                _rising(self.types.get(client, _NONE)[0]),
                _rising(self.types.get(client, _NONE)[1]),
                _rising(self.pairs.get(client, _NONE[0])),
            )
            for client, clock in self.state.items()
        ]
        return clients, bytes(self.kinds), self.depths.tobytes(), self.roots

    @classmethod
    def load(cls, dump: DocumentIndexDump) -> DocumentIndex:
        """The inverse of :meth:`dump`."""
        clients, kinds, depths, roots = dump
        history = cls()
        history.kinds, history.depths, history.roots = bytearray(kinds), array("H", depths), roots
        for client, clock, starts, places, clocks, types, pairs in clients:
            history.state[client] = clock
            history.runs[client] = (_risen(starts), array("I", places))
            if clocks:
                history.types[client] = (_risen(clocks), _risen(types))
            if pairs:
                history.pairs[client] = _risen(pairs)
        return history


class Dying:
    """The types of one document whose items a delete set deletes; computed on first use."""

    __slots__ = ("_deletes", "_items")

    def __init__(self, deletes: Sequence[DeletedRange] = ()) -> None:
        self._deletes = deletes
        self._items: dict[int, Id] | None = None if deletes else {}

    def item(self, history: DocumentIndex, number: int) -> Id | None:
        """The item that holds a type, if the delete set deletes it; otherwise ``None``."""
        if self._items is None:
            self._items = {
                dying: (client, at)
                for client, clock, length in self._deletes
                if client in history.types
                for at, dying in history.typed_between(client, clock, clock + length)
            }
        return self._items.get(number)


def goes_on(rights: Mapping[int, Id | None], client: int, clock: int, origin: Id, right: Id) -> bool:
    """Whether an element directly follows the last one of its client, with the same right origin."""
    return origin == (client, clock - 1) and rights.get(client) == right


def is_among(rising: array[int] | None, number: int) -> bool:
    """Whether ``number`` is in a sorted array."""
    if not rising:
        return False
    i = bisect_left(rising, number)
    return i < len(rising) and rising[i] == number


_NONE = (array("I"), array("I"))


def _rising(numbers: array[int]) -> bytes:
    """Differences of sorted numbers: they compress to a fraction."""
    return array("I", [b - a for a, b in zip((0, *numbers), numbers, strict=False)]).tobytes()


def _risen(data: bytes) -> array[int]:
    return array("I", accumulate(array("I", data)))
