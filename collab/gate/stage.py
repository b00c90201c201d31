"""Computes what one update would add to a document's history, without changing it."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from collab.gate.document_index import (
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
    DocumentIndex,
    Dying,
    goes_on,
    is_among,
)
from collab.gate.kinds import ELEMENTS, ENTRIES, TEXTUAL, XML
from collab.gate.limits import MAX_ROOTS, MAX_TYPE_DEPTH
from collab.gate.order import add_in_order
from collab.gate.struct_content import DELETED, GC, SKIP, TYPE, Malformed
from collab.gate.structs import DeletedRange, Id, Neighbours, Parts, Refused, Struct

_TOO_DEEP = f"a type inside more than {MAX_TYPE_DEPTH} others"
_TOO_MANY = f"the {MAX_ROOTS + 1}th root type"
_UNFIT = "content that its type cannot hold"
_GARBAGE = "an element beside a garbage-collected one"
_BETWEEN_NOTHING = "an element with the same left and right origin"
_NO_TYPE = "an element whose parent is not a type"
_NEVER: Id = (-1, 0)


class Stage:
    """The structs of one update, each added after those that it depends on.

    ``ends`` maps each client in the update to its next clock; ``deletes`` are the deletions of elements known by then;
    ``deletions`` are the same by client: where they begin, and where they end. ``runs`` maps a client to the clocks at
    which the place of its new elements changes, and these places. ``notable`` are the new entries and types, in the
    order of adding, each with its place and its first new clock.

    Differences from the original bytes: ``awaited`` maps a client to the clock of an element that something waits for;
    ``refused`` are elements that cannot be added as they are, and ``fillers`` the ``ref`` of their replacements, by
    first element; ``lost`` are elements inside garbage; ``cuts`` maps a client to the clocks of surrogate pairs that
    the update splits. ``early`` are deletions of types that come later in the whole update but must be applied along
    with this piece. ``leaves``: something is left out, because it waits, or continues a different history. ``repeats``:
    something must be left out although it is known, because it is repeated differently. ``known`` are the structs that
    begin with a known element. ``neighbours`` are pairs of known origins of new elements whose order is not known.
    """

    __slots__ = (
        "_allowed",
        "_base",
        "_coming",
        "_dying",
        "_has_pairs",
        "_history",
        "_kinds",
        "_numbers",
        "_pairs",
        "_rights",
        "_roots",
        "_source",
        "_types",
        "awaited",
        "cuts",
        "deletes",
        "deletions",
        "early",
        "ends",
        "fillers",
        "known",
        "leaves",
        "lost",
        "neighbours",
        "notable",
        "refused",
        "repeats",
        "runs",
    )

    def __init__(self, history: DocumentIndex, parts: Parts, coming: Dying | None = None) -> None:
        """``coming``: the types that the whole update deletes, if this is a piece of it."""
        self.ends: dict[int, int] = {}
        self.runs: dict[int, tuple[list[int], list[int]]] = {}
        self.notable: list[tuple[Struct, int, int]] = []
        self.awaited: dict[int, int] = {}
        self.refused: list[Refused] = []
        self.fillers: dict[Id, int] = {}
        self.lost: list[DeletedRange] = []
        self.known: list[Struct] = []
        self.neighbours: list[Neighbours] = []
        self._rights: dict[int, Id | None] = {}
        self.cuts: dict[int, set[int]] = {}
        self.leaves = self.repeats = False
        self._history = history
        self._source = parts.source
        self._dying = Dying(parts.deletes)
        self._coming = coming or Dying()
        self.early: dict[DeletedRange, None] = {}
        self._pairs = parts.pairs
        self._base = len(history.kinds)
        self._types: list[tuple[Id | str, int, int]] = []  # item or name, kind, depth
        self._numbers: dict[Id | str, int] = {}  # item or name -> type
        self._kinds: dict[int, int] = {}  # kinds of types, as their content reveals them
        self._roots = 0  # number of new roots
        self._allowed: dict[int, int] = {}  # by place: content that reveals nothing new about its type
        self._has_pairs = bool(parts.pairs or history.pairs)
        self.deletes = parts.deletes
        self.deletions = _merge(parts.deletes) if parts.deletes else {}
        if parts.structs:
            self._add_all(parts.structs)
        if parts.deletes:
            self._check_deletes()

    def _add_all(self, structs: Sequence[Struct]) -> None:
        for (client, at), _ in add_in_order(structs, self._add, self.ends.__getitem__):
            self.leaves = True
            if client >= 0:
                self.awaited[client] = min(at, self.awaited.get(client, at))

    def _check_deletes(self) -> None:
        state = self._history.state
        known = []
        for client, clock, length in self.deletes:
            end = self.ends.get(client) or state.get(client, 0)
            if clock + length > end:
                self.leaves = True
                self.awaited[client] = min(max(clock, end), self.awaited.get(client, clock + length))
                length = end - clock
                if length <= 0:
                    continue
            if self._has_pairs:
                self._cut(client, clock - 1)
                self._cut(client, clock + length - 1)
            known.append((client, clock, length))
        if self.leaves:
            self.deletes = known
            self.deletions = _merge(known)

    def _add(self, struct: Struct) -> Id | None:
        """Add a struct, or return the element that it waits for."""
        client, clock, length, ref, origin, right, parent, key, start, _ = struct
        end = self.ends.get(client)
        if end is None:
            end = self.ends[client] = self._history.state.get(client, 0)
        after = clock + length
        if clock > end:
            return client, clock - 1
        if ref == SKIP:
            return (client, after - 1) if after > end else None
        if clock < end:
            self.known.append(struct)
        place = NOWHERE
        if origin is not None:
            place = self._place(origin, client, clock)
            if place < 0:
                return origin
            if self._has_pairs:
                self._cut(origin[0], origin[1])
        if right is not None:
            left, place = place, self._place(right, client, clock)
            if place < 0:
                return right
            if self._has_pairs:
                self._cut(right[0], right[1] - 1)
            if place & KEYED:
                if after <= end:
                    self.repeats = True  # its writer shares its client id with another, and means other elements
                    return None
                raise Malformed("an entry has a right origin")
            if origin is not None and left | GONE != place | GONE:
                if left >> TYPE_SHIFT and place >> TYPE_SHIFT:
                    if after <= end:
                        self.repeats = True  # its writer shares its client id with another, and means other elements
                        return None
                    raise Malformed("the origins of an element are in different types")
                # A replica that keeps deleted content may write this in a deleted type. In any other type, Yjs and Yrs
                # would interpret it differently.
                if self._is_deleted_type((left or place) >> TYPE_SHIFT):
                    place = left or place
                elif after > end:
                    ref = self._refuse(struct, end, GC, _GARBAGE)
            elif origin == right and after > end and right[1] < self._history.state.get(right[0], 0):
                # Yjs itself writes this for an element of the same update, when it redoes something that was undone
                ref = self._refuse(struct, end, GC, _BETWEEN_NOTHING)
        if parent is not None:
            if isinstance(parent, str):
                place = self._root(parent, known=after <= end)
                if place < 0:
                    ref, place = self._refuse(struct, end, GC, _TOO_MANY), NOWHERE
            else:
                place = self._place(parent, client, clock)
                if place < 0:
                    return parent
                if after <= end and place >> TYPE_SHIFT and not self._number(parent):
                    self.repeats = True  # its writer shares its client id with another, and means other elements
                    return None
                place = self._type(parent, place)
                if place < 0:
                    ref, place = self._refuse(struct, end, GC, _NO_TYPE), NOWHERE
            if key is not None and place:
                place |= KEYED
        if after <= end:
            return None  # known: the library skips it
        place = place & ~GONE if ref != GC and place >> TYPE_SHIFT else NOWHERE
        if clock < end and ref != GC and not self._goes_on(client, end, place):
            return _NEVER
        if place:
            if not self._allowed.get(place, 0) >> ref & 1 and not self._may_hold(
                client, clock, length, ref, place, start
            ):
                ref = self._refuse(struct, end, DELETED, _UNFIT)
            elif ref == TYPE and not self._add_type((client, clock), self._source[start], place):
                ref = self._refuse(struct, end, DELETED, _TOO_DEEP)
            if ref == DELETED:
                place |= GONE
            if place & KEYED or ref == TYPE:
                self.notable.append((struct, place, end))
        elif ref != GC and ref != DELETED:
            self.lost.append((client, end, after - end))
        if origin is not None and right is not None and clock >= end:
            rights = self._rights if client in self._rights else self._history.rights
            if not goes_on(rights, client, clock, origin, right) and self._are_in_order(origin, right, place):
                self.neighbours.append((origin, right))
        self._rights[client] = right
        own = self.runs.get(client)
        if own is None:
            self.runs[client] = ([end], [place])
        elif own[1][-1] != place:
            own[0].append(end)
            own[1].append(place)
        self.ends[client] = after
        return None

    def _are_in_order(self, origin: Id, right: Id, place: int) -> bool:
        """Whether the document can tell the order of two elements at ``place``."""
        state, number = self._history.state, place >> TYPE_SHIFT
        known = origin[1] < state.get(origin[0], 0) and right[1] < state.get(right[0], 0)
        return known and 0 < number < self._base and not self._history.is_deleted(number)

    def _refuse(self, struct: Struct, end: int, filler: int, why: str) -> int:
        first = max(struct[1], end)
        self.refused.append(Refused(struct[0], first, struct[1] + struct[2] - first, why))
        self.fillers[struct[:2]] = filler
        return filler

    def _cut(self, client: int, clock: int) -> None:
        if self._is_pair(client, clock):
            self.cuts.setdefault(client, set()).add(clock)

    def _place(self, element: Id, client: int, clock: int) -> int:
        """The place of an element that is known or already added; -1 if it is neither.

        A struct of ``client`` at ``clock`` must not refer to its own elements or later ones of the client.
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
        """The place of a root's elements; -1 if there would be too many roots."""
        number = self._history.roots.get(name) or self._numbers.get(name)
        if number is None:
            if known:  # it repeats something differently, and every replica would still create the root
                self.repeats = True
                return NOWHERE
            if len(self._history.roots) + self._roots >= MAX_ROOTS:
                return -1
            self._roots += 1
            number = self._register(name, ROOT_KIND, 0)
        return number << TYPE_SHIFT

    def _number(self, item: Id) -> int:
        """The type that an item holds, known or new; 0 if it holds none."""
        return self._history.type_at(item[0], item[1]) or self._numbers.get(item, 0)

    def _type(self, item: Id, place: int) -> int:
        """The place of elements in the type that an item holds; -1 if it holds none.

        In the latter case its writer shares its client id with another, and means another item by this id.
        """
        number = self._number(item)
        if number:
            return number << TYPE_SHIFT
        if place & GONE or not place >> TYPE_SHIFT:
            return NOWHERE  # it may have been a type; anything put into it now is garbage from the start
        return -1

    def _register(self, what: Id | str, kind: int, depth: int) -> int:
        number = self._base + len(self._types)
        self._types.append((what, kind, depth))
        self._numbers[what] = number
        return number

    def _add_type(self, item: Id, kind: int, place: int) -> bool:
        number = place >> TYPE_SHIFT
        if number < self._base:
            depth = (self._history.depths[number] & ~DELETED_TYPE) + 1
        else:
            depth = self._types[number - self._base][2] + 1
        if depth > MAX_TYPE_DEPTH:
            return False
        self._register(item, kind, depth)
        return True

    def _goes_on(self, client: int, end: int, place: int) -> bool:
        """Whether a partly known struct continues at the place of its beginning; otherwise the library would link two
        lists.
        """
        if self._has_pairs:
            self._cut(client, end - 1)
        return self._place((client, end - 1), client, end) | GONE == place | GONE

    def _check_overwritten(self, client: int, clock: int, length: int) -> None:
        """An entry with several values can only be one whose overwritten values an undo manager keeps.

        Yjs merges adjacent deleted items. If only some were deleted, one would stay alive behind the entry's head:
        deleting its map would not delete it, and it would be left with a missing parent.
        """
        if not self.deletes_all(client, clock, clock + length):
            raise Malformed("an entry has more than one value")

    def deletes_all(self, client: int, clock: int, end: int) -> bool:
        """Whether the update deletes all elements from ``clock`` to ``end``."""
        starts, ends = self.deletions.get(client, _NOTHING)
        i = bisect_right(starts, clock) - 1
        return i >= 0 and ends[i] >= end

    def _is_deleted_type(self, number: int) -> bool:
        """Whether the item that holds a type is deleted, before this update or by it."""
        if number >= self._base:
            item = self._types[number - self._base][0]
            return not isinstance(item, str) and self.deletes_all(item[0], item[1], item[1] + 1)
        if self._history.is_deleted(number):
            return True
        if self._dying.item(self._history, number) is not None:
            return True
        dying = self._coming.item(self._history, number)
        if dying is not None:
            self.early[(*dying, 1)] = None  # when the log replays this piece, the type must be deleted, too
        return dying is not None

    def _may_hold(self, client: int, clock: int, length: int, ref: int, place: int, start: int) -> bool:
        number = place >> TYPE_SHIFT
        kind = self._history.kinds[number] if number < self._base else self._types[number - self._base][1]
        if place & KEYED:
            allowed = ENTRIES[kind]
            if length > 1 and ref != DELETED:
                self._check_overwritten(client, clock, length)
        else:
            allowed = ELEMENTS[kind]
        if not allowed >> ref & 1:
            return False
        if kind >= ROOT_KIND:
            self._learn(number, kind, ref, place & KEYED, start)
        if not place & KEYED and ref != TYPE:
            self._allowed[place] = self._allowed.get(place, 0) | 1 << ref
        return True

    def _learn(self, number: int, kind: int, ref: int, keyed: int, start: int) -> None:
        seen = ROOT_KIND
        if keyed:
            seen = ROOT_MAP
        elif ref in TEXTUAL:
            seen = ROOT_TEXT
        elif ref == TYPE:
            seen = ROOT_XML if self._source[start] in XML else ROOT_ARRAY
        elif ref != DELETED:
            seen = ROOT_ARRAY
        if seen > kind:
            self._kinds[number] = max(seen, self._kinds.get(number, 0))

    def _is_pair(self, client: int, clock: int) -> bool:
        """Whether an element, known or new, is the high surrogate of a pair."""
        if clock + 1 < self._history.state.get(client, 0):
            return is_among(self._history.pairs.get(client), clock)
        return is_among(self._pairs.get(client), clock)

    def cuts_new(self) -> bool:
        """Whether it splits a pair that it brings itself."""
        state = self._history.state
        return any(clock + 1 >= state.get(client, 0) for client, clocks in self.cuts.items() for clock in clocks)

    def cuts_known(self) -> dict[int, list[int]]:
        """The known pairs that it splits: client id -> clocks of their high surrogates."""
        state = self._history.state
        known = {c: sorted(at for at in clocks if at + 1 < state.get(c, 0)) for c, clocks in self.cuts.items()}
        return {client: clocks for client, clocks in known.items() if clocks}

    def before(self) -> dict[int, int]:
        """The clients with new structs -> their clocks in the history."""
        state = self._history.state
        return {client: state.get(client, 0) for client, end in self.ends.items() if end > state.get(client, 0)}

    def commit(self) -> None:
        """Add it to the history, which must not have changed in between."""
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
        for client, clocks in self.cuts.items():
            history.cut(client, clocks)
        for client, pairs in self._pairs.items():
            new = pairs[bisect_left(pairs, history.state.get(client, 0)) :]
            if new:
                history.pairs.setdefault(client, array("I")).extend(new)
        history.state.update(self.ends)
        history.rights.update(self._rights)
        for client, (starts, ends) in self.deletions.items():
            for start, end in zip(starts, ends, strict=True):
                history.delete(client, start, end)


def _merge(deletes: Sequence[DeletedRange]) -> dict[int, tuple[list[int], list[int]]]:
    """Deletions by client, sorted and without overlaps: where they start, and where they end."""
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
