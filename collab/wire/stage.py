"""What one update would add to the history of a document, found without changing it."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from itertools import groupby
from operator import itemgetter

from collab.wire.history import (
    DELETED_TYPE,
    GONE,
    KEYED,
    NOWHERE,
    ROOT_ARRAY,
    ROOT_KIND,
    ROOT_MAP,
    ROOT_TEXT,
    ROOT_XML,
    TYPE_SHIFT,
    History,
    is_among,
)
from collab.wire.structs import (
    ANY,
    BINARY,
    DELETED,
    EMBED,
    FORMAT,
    GC,
    SKIP,
    STRING,
    TYPE,
    Delete,
    Id,
    Malformed,
    Pairs,
    Struct,
)

MAX_TYPE_DEPTH = 100
"""Types in each other: the CRDT library and its readers recurse through all of them."""
MAX_ROOTS = 4096
"""Root types of one document."""
SPLITS_A_PAIR = "it splits a character that takes two elements"


class Gap(Exception):
    """The update is well-formed but refers to what the room lacks."""


class Stage:
    """The structs of one update, each added after those that it refers to.

    ``ends`` is client id -> next clock, of the clients in the update; ``deletions`` is client id -> the clocks where
    the ranges begin that the update deletes, and those where they end; ``runs`` is client id -> the clocks where its
    new elements come to live elsewhere, and these places; ``notable`` are the new entries and types, in the order of
    adding, each with its place and its first new clock.
    """

    __slots__ = (
        "_allowed",
        "_base",
        "_dying",
        "_has_pairs",
        "_history",
        "_kinds",
        "_numbers",
        "_pairs",
        "_roots",
        "_types",
        "_update",
        "deletions",
        "ends",
        "notable",
        "runs",
    )

    def __init__(self, history: History, update: bytes, deletes: Sequence[Delete], pairs: Pairs) -> None:
        self.ends: dict[int, int] = {}
        self.runs: dict[int, tuple[list[int], list[int]]] = {}
        self.notable: list[tuple[Struct, int, int]] = []
        self._history = history
        self._update = update
        self.deletions = _merge(deletes) if deletes else {}
        self._dying: set[int] | None = None  # types that it deletes
        self._pairs = pairs
        self._base = len(history.kinds)
        self._types: list[tuple[Id | str, int, int]] = []  # item or name, kind, depth
        self._numbers: dict[Id | str, int] = {}  # the same, to the type
        self._kinds: dict[int, int] = {}  # what types turn out to be
        self._roots = 0  # new ones
        self._allowed: dict[int, int] = {}  # by place, the content that tells nothing new about its type
        self._has_pairs = bool(pairs or history.pairs)

    def add_all(self, structs: Sequence[Struct]) -> None:
        """Add structs, each after those that it refers to.

        Raises :class:`Gap` if what one refers to is neither known nor among them, and :class:`Malformed`.
        """
        ready = [(list(block), 0) for _, block in groupby(structs, itemgetter(0))]
        ready.reverse()
        # by client: the blocks that wait for one of its clocks, the lowest first
        waiting: dict[int, list[tuple[int, int, list[Struct], int]]] = {}
        number = 0
        while ready:
            block, i = ready.pop()
            client = block[0][0]
            while i < len(block):
                missing = self._add(block[i])
                if missing is not None:
                    number += 1
                    heappush(waiting.setdefault(missing[0], []), (missing[1], number, block, i))
                    break
                i += 1
            heap = waiting.get(client)
            while heap and heap[0][0] < self.ends[client]:
                ready.append(heappop(heap)[2:])
        if any(waiting.values()):
            raise Gap("it refers to something unknown")

    def _add(self, struct: Struct) -> Id | None:
        """Add a struct; or say which element it waits for."""
        client, clock, length, ref, origin, right, parent, key, start, _ = struct
        end = self.ends.get(client)
        if end is None:
            end = self.ends[client] = self._history.state.get(client, 0)
        if clock > end or ref == SKIP:
            raise Gap("it leaves something out")
        after = clock + length
        place = NOWHERE
        if origin is not None:
            place = self._place(origin, client, clock)
            if place < 0:
                return origin
            if self._has_pairs and self.is_pair(origin[0], origin[1]):
                raise Malformed(SPLITS_A_PAIR)
        if right is not None:
            left, place = place, self._place(right, client, clock)
            if place < 0:
                return right
            if self._has_pairs and self.is_pair(right[0], right[1] - 1):
                raise Malformed(SPLITS_A_PAIR)
            if place & KEYED:
                raise Malformed("an entry names a right neighbour")
            if origin is not None and left | GONE != place | GONE:
                if left >> TYPE_SHIFT and place >> TYPE_SHIFT:
                    raise Malformed("an element lies between neighbours in different types")
                # A replica that keeps deleted content may say this of a type that is deleted. Of any other, Yjs
                # and Yrs would make different things of it.
                if not self._is_deleted_type((left or place) >> TYPE_SHIFT):
                    raise Gap("one of its neighbours was collected as garbage")
                place = left or place
        if parent is not None:
            if isinstance(parent, str):
                place = self._root(parent, known=after <= end)
            else:
                place = self._place(parent, client, clock)
                if place < 0:
                    return parent
                place = self._type(parent, place)
            if key is not None and place:
                place |= KEYED
        if after <= end:
            return None  # known: the library leaves it out
        place = place & ~GONE if ref != GC and place >> TYPE_SHIFT else NOWHERE
        if clock < end and ref != GC:
            self._check_overlap(client, end, place)
        if place:
            if not self._allowed.get(place, 0) >> ref & 1:
                self._check_content(client, clock, length, ref, place, start)
            if ref == TYPE:
                self._add_type((client, clock), self._update[start], place)
            elif ref == DELETED:
                place |= GONE
            if place & KEYED or ref == TYPE:
                self.notable.append((struct, place, end))
        own = self.runs.get(client)
        if own is None:
            self.runs[client] = ([end], [place])
        elif own[1][-1] != place:
            own[0].append(end)
            own[1].append(place)
        self.ends[client] = after
        return None

    def _place(self, element: Id, client: int, clock: int) -> int:
        """Where an element lives that is known, or added already; -1 if it is neither.

        To a struct of ``client`` at ``clock`` none of its own elements may refer, nor what comes behind it.
        """
        other, at = element
        if other == client and at >= clock:
            raise Malformed("an element refers to itself or to a later one of its writer")
        runs = self.runs.get(other)
        if runs is None or at < runs[0][0]:
            if at >= self._history.state.get(other, 0):
                return -1
            return self._history.place(other, at)
        if at >= self.ends[other]:
            return -1
        starts, places = runs
        return places[-1] if at >= starts[-1] else places[bisect_right(starts, at) - 1]

    def _root(self, name: str, *, known: bool) -> int:
        number = self._history.roots.get(name) or self._numbers.get(name)
        if number is None:
            if known:  # every replica would create the root all the same
                raise Malformed("it repeats something in another way")
            self._roots += 1
            if len(self._history.roots) + self._roots > MAX_ROOTS:
                raise Malformed("too many root types")
            number = self._register(name, ROOT_KIND, 0)
        return number << TYPE_SHIFT

    def _type(self, item: Id, place: int) -> int:
        number = self._history.type_at(item[0], item[1]) or self._numbers.get(item)
        if number:
            return number << TYPE_SHIFT
        if place & GONE or not place >> TYPE_SHIFT:
            return NOWHERE  # it may have been a type; what is put into it now is garbage from the start
        raise Malformed("a parent is not a type")

    def _register(self, what: Id | str, kind: int, depth: int) -> int:
        number = self._base + len(self._types)
        self._types.append((what, kind, depth))
        self._numbers[what] = number
        return number

    def _add_type(self, item: Id, kind: int, place: int) -> None:
        number = place >> TYPE_SHIFT
        if number < self._base:
            depth = (self._history.depths[number] & ~DELETED_TYPE) + 1
        else:
            depth = self._types[number - self._base][2] + 1
        if depth > MAX_TYPE_DEPTH:
            raise Malformed("types are nested too deeply")
        self._register(item, kind, depth)

    def _check_overlap(self, client: int, end: int, place: int) -> None:
        """A struct whose beginning is known must go on where that is, or the library would link two lists."""
        if self.is_pair(client, end - 1):
            raise Malformed(SPLITS_A_PAIR)
        if self._place((client, end - 1), client, end) | GONE != place | GONE:
            raise Gap("it repeats something in another way")

    def _check_overwritten(self, client: int, clock: int, length: int) -> None:
        """An entry with several values may only be what an undo manager keeps of overwritten ones.

        Yjs joins neighbours of which both are deleted. Deleting only some of them would leave one alive behind
        the entry's head: when its map is deleted, it is not, and stays behind with a parent that is gone.
        """
        if not self._deletes_all(client, clock, clock + length):
            raise Malformed("an entry has more than one value")

    def _deletes_all(self, client: int, clock: int, end: int) -> bool:
        """Whether the update deletes all elements from ``clock`` to ``end``."""
        starts, ends = self.deletions.get(client, _NOTHING)
        i = bisect_right(starts, clock) - 1
        return i >= 0 and ends[i] >= end

    def _is_deleted_type(self, number: int) -> bool:
        """Whether the item that holds a type is deleted, before this update or by it."""
        if number >= self._base:
            item = self._types[number - self._base][0]
            return not isinstance(item, str) and self._deletes_all(item[0], item[1], item[1] + 1)
        if self._history.depths[number] & DELETED_TYPE:
            return True
        if self._dying is None:
            self._dying = {
                dying
                for client, (starts, ends) in self.deletions.items()
                for start, end in zip(starts, ends, strict=True)
                for dying in self._history.types_between(client, start, end)
            }
        return number in self._dying

    def _check_content(self, client: int, clock: int, length: int, ref: int, place: int, start: int) -> None:
        number = place >> TYPE_SHIFT
        kind = self._history.kinds[number] if number < self._base else self._types[number - self._base][1]
        if place & KEYED:
            allowed = _ENTRIES[kind]
            if length > 1 and ref != DELETED:
                self._check_overwritten(client, clock, length)
        else:
            allowed = _ELEMENTS[kind]
        if not allowed >> ref & 1:
            raise Malformed("a type holds content of a kind that it cannot hold")
        if kind >= ROOT_KIND:
            self._learn(number, kind, ref, place & KEYED, start)
        if not place & KEYED and ref != TYPE:
            self._allowed[place] = self._allowed.get(place, 0) | 1 << ref

    def _learn(self, number: int, kind: int, ref: int, keyed: int, start: int) -> None:
        seen = ROOT_KIND
        if keyed:
            seen = ROOT_MAP
        elif ref in _TEXTUAL:
            seen = ROOT_TEXT
        elif ref == TYPE:
            seen = ROOT_XML if self._update[start] in _XML else ROOT_ARRAY
        elif ref != DELETED:
            seen = ROOT_ARRAY
        if seen > kind:
            self._kinds[number] = max(seen, self._kinds.get(number, 0))

    def is_pair(self, client: int, clock: int) -> bool:
        """Whether an element, known or new, is the first half of a surrogate pair."""
        return is_among(self._pairs.get(client), clock) or is_among(self._history.pairs.get(client), clock)

    def before(self) -> dict[int, int]:
        """The clients with new structs -> their clocks in the history."""
        state = self._history.state
        return {client: state.get(client, 0) for client, end in self.ends.items() if end > state.get(client, 0)}

    def commit(self) -> None:
        """Make it part of the history, which must not have changed in between."""
        history = self._history
        for what, kind, depth in self._types:
            if isinstance(what, str):
                history.add_root(what)
            else:
                history.add_type(what[0], what[1], kind, depth)
        for number, kind in self._kinds.items():
            history.kinds[number] = kind
        for client, (starts, places) in self.runs.items():
            for start, place in zip(starts, places, strict=True):
                history.add_run(client, start, place)
        for client, pairs in self._pairs.items():
            new = pairs[bisect_left(pairs, history.state.get(client, 0)) :]
            if new:
                history.pairs.setdefault(client, array("I")).extend(new)
        history.state.update(self.ends)
        for client, (starts, ends) in self.deletions.items():
            for start, end in zip(starts, ends, strict=True):
                history.delete(client, start, end)


def _merge(deletes: Sequence[Delete]) -> dict[int, tuple[list[int], list[int]]]:
    """Deletions by client, sorted, without overlaps: where they start, and where they end."""
    merged: dict[int, tuple[list[int], list[int]]] = {}
    for client, clock, length in sorted(deletes):
        own = merged.get(client)
        if own is None:
            merged[client] = ([clock], [clock + length])
        elif clock <= own[1][-1]:
            own[1][-1] = max(own[1][-1], clock + length)
        else:
            own[0].append(clock)
            own[1].append(clock + length)
    return merged


_NOTHING: tuple[list[int], list[int]] = ([], [])


def _refs(*refs: int) -> int:
    return sum(1 << ref for ref in refs)


_TEXTUAL = (STRING, EMBED, FORMAT)
_XML = (3, 4, 6)
_VALUES = _refs(DELETED, BINARY, TYPE, ANY)
_TEXT = _refs(DELETED, STRING, EMBED, FORMAT, TYPE)
_ENTRY = _VALUES | _refs(STRING)

# kind of type -> what may stand in its list, and in its entries or attributes
_ELEMENTS: Mapping[int, int] = {
    0: _VALUES,
    1: 0,
    2: _TEXT,
    3: _VALUES,
    4: _VALUES,
    6: _TEXT,
    **dict.fromkeys((ROOT_KIND, ROOT_MAP, ROOT_ARRAY, ROOT_TEXT, ROOT_XML), _VALUES | _TEXT),
}
_ENTRIES: Mapping[int, int] = {
    0: 0,
    1: _VALUES,
    2: _ENTRY,
    3: _ENTRY,
    4: _ENTRY,
    6: _ENTRY,
    **dict.fromkeys((ROOT_KIND, ROOT_MAP, ROOT_ARRAY, ROOT_TEXT, ROOT_XML), _ENTRY),
}
