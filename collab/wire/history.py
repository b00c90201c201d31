"""What the gate remembers of a document: not its content, but where each of its elements lives.

An element is addressed by ``(client, clock)``. Its *place* is a number: four times the type it lies in, plus
``KEYED`` if it is an entry of a map or an attribute, plus ``GONE`` if it was first seen when it was deleted
already. Type 0 is nowhere: what was collected as garbage, and all that is put into it. Neighbours mostly share
their place, so places are kept in runs, and a text of any size that one client wrote is one run of eight bytes.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from itertools import accumulate
from typing import TypeAlias

from presence.lib0 import encode_uint

KEYED, GONE, TYPE_SHIFT = 1, 2, 2
NOWHERE = 0
"""The place of garbage."""
USUAL_SIZES = (4, 5, 7, 8)
"""Bytes of nearly all random client ids, of 32 bits (Yjs) and of 53 bits (Yrs)."""

DELETED_TYPE = 128
"""Added to the depth of a type whose item is deleted."""

NOWHERE_KIND = 8
ROOT_KIND, ROOT_MAP, ROOT_ARRAY, ROOT_TEXT, ROOT_XML = 16, 17, 18, 19, 20
"""Kinds of types beyond those of Yjs (0 array, 1 map, 2 text, 3 XML element, 4 XML fragment, 6 XML text).

What a root is, Yjs does not write down: its content tells, the highest number wins.
"""

HistoryDump: TypeAlias = tuple[list[tuple[int, int, bytes, bytes, bytes, bytes, bytes]], bytes, bytes, dict[str, int]]
"""All that :class:`History` holds: by client its clock, places, types and pairs; kinds and depths by type; roots."""

_MANY_CLIENTS = 4096


class History:
    """State vector, types, places and surrogate pairs of one document.

    ``state`` is client id -> next clock; ``kinds`` and ``depths`` are by type; ``roots`` is root name -> type;
    ``clients`` is encoded client id -> client id, of those that were heard of lately.
    """

    __slots__ = ("clients", "depths", "kinds", "pairs", "roots", "runs", "state", "types")

    def __init__(self) -> None:
        self.state: dict[int, int] = {}
        self.clients: dict[bytes, int] = {}
        self.runs: dict[int, tuple[array[int], array[int]]] = {}  # clocks where a run starts, its place
        self.types: dict[int, tuple[array[int], array[int]]] = {}  # clocks of items that hold a type, the type
        self.pairs: dict[int, array[int]] = {}  # clocks of the first halves of surrogate pairs
        self.kinds = bytearray([NOWHERE_KIND])
        self.depths = bytearray([0])
        self.roots: dict[str, int] = {}

    def place(self, client: int, clock: int) -> int:
        """Where a known element lives."""
        starts, places = self.runs[client]
        return places[bisect_right(starts, clock) - 1]

    def places_between(self, client: int, clock: int, end: int) -> array[int]:
        """Where the known elements from ``clock`` to ``end`` live."""
        starts, places = self.runs[client]
        return places[bisect_right(starts, clock) - 1 : bisect_left(starts, end)]

    def type_at(self, client: int, clock: int) -> int:
        """The type that an item holds; 0 if it holds none."""
        found = self.types.get(client)
        if found is None:
            return 0
        clocks, types = found
        i = bisect_left(clocks, clock)
        return types[i] if i < len(clocks) and clocks[i] == clock else 0

    def types_between(self, client: int, clock: int, end: int) -> array[int]:
        """The types that the elements from ``clock`` to ``end`` hold."""
        clocks, types = self.types.get(client, _NONE)
        return types[bisect_left(clocks, clock) : bisect_left(clocks, end)]

    def delete(self, client: int, clock: int, end: int) -> None:
        """Note that the elements from ``clock`` to ``end`` are deleted."""
        if client in self.types:
            for number in self.types_between(client, clock, end):
                self.depths[number] |= DELETED_TYPE

    def is_pair(self, client: int, clock: int) -> bool:
        """Whether an element is the first half of a surrogate pair."""
        return is_among(self.pairs.get(client), clock)

    def remember(self, client: int) -> None:
        """Expect to hear more of a client: note its encoded id."""
        name = encode_uint(client)
        if len(name) in USUAL_SIZES:
            if len(self.clients) >= _MANY_CLIENTS:
                self.clients.clear()
            self.clients[name] = client

    def add_run(self, client: int, clock: int, place: int) -> None:
        """Note that the elements of a client live at ``place``, from the first unknown clock on."""
        own = self.runs.get(client)
        if own is None:
            self.runs[client] = (array("I", (clock,)), array("I", (place,)))
        elif own[1][-1] != place:
            own[0].append(clock)
            own[1].append(place)

    def add_type(self, client: int, clock: int, kind: int, depth: int) -> None:
        """Register the type that an item holds. Its number is the next one."""
        own = self.types.get(client)
        if own is None:
            own = self.types[client] = (array("I"), array("I"))
        own[0].append(clock)
        own[1].append(len(self.kinds))
        self.kinds.append(kind)
        self.depths.append(depth)

    def add_root(self, name: str) -> None:
        """Register a root of unknown kind. Its type is the next number."""
        self.roots[name] = len(self.kinds)
        self.kinds.append(ROOT_KIND)
        self.depths.append(0)

    def dump(self) -> HistoryDump:
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
        return clients, bytes(self.kinds), bytes(self.depths), self.roots

    @classmethod
    def load(cls, dump: HistoryDump) -> History:
        """Undo :meth:`dump`."""
        clients, kinds, depths, roots = dump
        history = cls()
        history.kinds, history.depths, history.roots = bytearray(kinds), bytearray(depths), roots
        for client, clock, starts, places, clocks, types, pairs in clients:
            history.state[client] = clock
            history.runs[client] = (_risen(starts), array("I", places))
            if clocks:
                history.types[client] = (_risen(clocks), _risen(types))
            if pairs:
                history.pairs[client] = _risen(pairs)
        return history


def is_among(rising: array[int] | None, number: int) -> bool:
    """Whether ``number`` is one of some rising numbers."""
    if not rising:
        return False
    i = bisect_left(rising, number)
    return i < len(rising) and rising[i] == number


_NONE = (array("I"), array("I"))


def _rising(numbers: array[int]) -> bytes:
    """Differences of rising numbers: they compress to a fraction."""
    return array("I", [b - a for a, b in zip((0, *numbers), numbers, strict=False)]).tobytes()


def _risen(data: bytes) -> array[int]:
    return array("I", accumulate(array("I", data)))
