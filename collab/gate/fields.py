"""Detects what updates write to the fields of entities.

Entity fields are the entries of the root map ``fields``, and of the maps that are entries of a *mapped* root. The gate
keeps a :class:`Fields` along with its history, which returns the effect of each update: :class:`Write`.
"""

from __future__ import annotations

from base64 import b64encode
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from collab.gate.any_values import read_any
from collab.gate.checked import Checked
from collab.gate.document_index import KEYED, TYPE_SHIFT, DocumentIndex
from collab.gate.entries import Entries, EntriesDump
from collab.gate.struct_content import ANY, BINARY, DELETED, STRING, TYPE
from collab.gate.structs import DeletedRange, Id, Struct
from presence.lib0 import read_bytes, read_string

FIELDS = "fields"
"""The root map that holds an entity's fields."""


class Nested(Enum):
    """The type of :data:`NESTED`."""

    NESTED = "NESTED"


NESTED: Final = Nested.NESTED
"""Placeholder for a shared type, whose value is read from the document."""

_MAP = 1
_VALUES = (ANY, BINARY, STRING)
_Ranges: TypeAlias = Mapping[int, tuple[list[int], list[int]]]


class Write(NamedTuple):
    """The effect of an update on one field, or on one child of a mapped root (``key`` is ``None``).

    Successive writes of a field in one update count as one: the last. ``inside``: something below its shared type
    changed. ``value`` is JSON or :data:`NESTED`, ``None`` unless it was set. ``head``: this is the field's current
    state. ``seen``: its author had seen the previous state; if not, the two writes are concurrent. ``client`` is the
    author's client id, 0 if the update does not tell.
    """

    root: str
    child: str | None
    key: str | None
    kind: Literal["set", "delete", "inside"]
    value: Any
    head: bool
    seen: bool
    client: int


class _Type(NamedTuple):
    """A shared type below a tracked root. ``fields``: its entries are fields or children.

    ``slot`` and ``item`` are the entry that it is or lies below, and the element there; -1 and ``None`` for a root.
    """

    fields: bool
    root: str
    child: str | None
    slot: int
    item: Id | None


class _Tip(NamedTuple):
    """The last of several successive new writes of one entry. ``lost``: its map had been deleted already."""

    struct: Struct
    slot: int
    seen: bool
    lost: bool


FieldsDump: TypeAlias = tuple[list[str], EntriesDump, list[tuple[_Type, list[int]]]]


class Fields:
    """The last writer of each entity field of one document. ``types`` are those that belong to fields, by number."""

    __slots__ = ("_awaited", "_entries", "_has_nested", "mapped", "types")

    def __init__(self, mapped: Collection[str] = ()) -> None:
        self.mapped = frozenset(mapped) - {FIELDS}
        self._awaited = {FIELDS, *self.mapped}  # roots that do not exist yet
        self.types: dict[int, _Type] = {}  # by number in the history
        self._has_nested = False  # whether there are types inside fields
        self._entries = Entries()

    def may_be_written(self, history: DocumentIndex, checked: Checked) -> bool:
        """Whether an update that is not yet in ``history`` may write fields."""
        stage, types = checked.stage, self.types
        if stage is not None:
            if stage.notable or checked.deletes:
                return True
            return any(place >> TYPE_SHIFT in types for _, places in stage.runs.values() for place in places)
        if checked.place >> TYPE_SHIFT in types:
            return True
        known = all(client in history.runs for client, _, _ in checked.deletes)
        return not known or not _deletes_content(history, checked, types)

    def note(self, history: DocumentIndex, checked: Checked, *, live: bool) -> Sequence[Write]:
        """The writes of an update that was just added to ``history``; also sets ``checked.content``."""
        stage = checked.stage
        types = self.types
        if stage is None:
            if checked.place >> TYPE_SHIFT not in types and _deletes_content(history, checked, types):
                checked.content = True
                return ()
            notable = [(struct, checked.place, struct[1]) for struct in checked.structs]
        else:
            if self._awaited:
                self._find_roots(history)
            if not types:
                checked.content = True
                return ()
            notable = stage.notable
        replacements = self._replacements(checked, notable, live=live)
        if replacements:
            return replacements
        if stage is None:
            runs: _Ranges = {client: ([clock], [checked.place]) for client, clock in checked.before.items()}
            deletions: _Ranges = {client: ([clock], [clock + length]) for client, clock, length in checked.deletes}
        else:
            runs, deletions = stage.runs, stage.deletions
        news = _News(checked, deletions, live=live and len(checked.structs) + len(checked.deletes) <= _FEW)
        for struct, place, first in notable:
            self._add(history, struct, place, first, news)
        checked.content = _has_content(history, runs, deletions, types)
        for client, (starts, ends) in deletions.items():
            if self._entries.knows(client):
                for start, end in zip(starts, ends, strict=True):
                    self._delete(client, start, end, news)
        writes = [write for tip in news.tips.values() if (write := self._told(tip, news)) is not None]
        for slot, head in news.deleted:
            map_ = types[self._entries.type_of(slot)]
            if self._is_alive(map_):
                writes.append(self._write(slot, "delete", None, head=head, seen=head, client=news.author))
        if self._has_nested:
            writes += self._inside(history, runs, deletions, news)
        return writes

    def _replacements(
        self, checked: Checked, notable: Sequence[tuple[Struct, int, int]], *, live: bool
    ) -> list[Write] | None:
        """Fast path for values in one map that each replace another; ``None``, without any effect, for all else.

        Applications and editors nearly always write such updates, and the general path takes three times as long.
        """
        deletes = checked.deletes
        if not 0 < len(notable) == len(checked.structs) <= _FEW - len(deletes):
            return None
        place = notable[0][1]
        type_ = self.types.get(place >> TYPE_SHIFT)
        if type_ is None or not type_.fields or not place & KEYED:
            return None
        entries = self._entries
        replaced: dict[Id, int] = {}  # to its slot
        for struct, its_place, first in notable:
            _, clock, length, ref, origin, *_ = struct
            if origin is None or its_place != place or ref not in _VALUES or length != 1 or first != clock:
                return None
            slot = entries.slot_at(*origin)
            if slot < 0:
                return None  # it comes with this update
            replaced[origin] = slot
        # if two clients write to one entry in one update (copies of documents do), the result depends on the whole
        # update
        if len(set(replaced.values())) != len(notable) or (deletes and not _are_same(deletes, replaced)):
            return None
        alive = type_.item is None or self._is_alive(type_)
        writes = []
        for (struct, _, _), (origin, slot) in zip(notable, replaced.items(), strict=True):
            client, clock, _, ref, _, _, _, _, start, _ = struct
            if entries.is_head(slot, origin):
                seen = alive and not (live and deletes and entries.deleted[slot])
                entries.replace_head(slot, client, clock)
                head = True
            else:
                seen = entries.add(slot, client, clock, 1, origin)
                head = entries.is_head(slot, (client, clock))
            if head:
                entries.deleted[slot] = False
            value = read_any(checked.update, start + 1)[0] if ref == ANY else _value(checked.update, struct)
            key = entries.keys[slot]
            if type_.child is None and type_.root in self.mapped:
                writes.append(Write(type_.root, key, None, "set", value, head and alive, seen, client))
            else:
                writes.append(Write(type_.root, type_.child, key, "set", value, head and alive, seen, client))
        return writes

    def _find_roots(self, history: DocumentIndex) -> None:
        for name in [name for name in self._awaited if name in history.roots]:
            self._awaited.discard(name)
            self.types[history.roots[name]] = _Type(True, name, None, -1, None)

    def _add(self, history: DocumentIndex, struct: Struct, place: int, first: int, news: _News) -> None:
        """Add the new part of an entry, from the clock ``first`` on, or a type."""
        type_ = self.types.get(place >> TYPE_SHIFT)
        if type_ is None:
            return
        client, clock, length, ref, origin, _, _, key, *_ = struct
        if not type_.fields:
            if ref == TYPE:
                self.types[history.type_at(client, clock)] = type_
            return
        if not place & KEYED:
            return
        entries = self._entries
        if first > clock:
            origin = (client, first - 1)
        if origin is not None:
            slot = entries.slot_at(*origin)
        else:
            assert key is not None
            slot = entries.slot(place >> TYPE_SHIFT, key)
        last = (client, clock + length - 1)
        was_deleted = origin is not None and entries.deleted[slot] and entries.is_head(slot, origin)
        seen = entries.add(slot, client, first, last[1] + 1 - first, origin)
        if was_deleted and origin is not None and news.deletes_what_it_knew(origin):
            seen = False  # somebody else deleted it concurrently
        if entries.is_head(slot, last):
            entries.deleted[slot] = ref == DELETED
        lost = not self._is_alive(type_)
        if origin is not None:
            news.replaced.add(origin)
            before = news.tips.pop(origin, None)
            seen = seen and (before is None or before.seen)
        news.tips[last] = _Tip(struct, slot, seen and not lost, lost)
        if ref == TYPE:
            number = history.type_at(client, clock)
            if type_.root in self.mapped and type_.child is None and history.kinds[number] == _MAP:
                self.types[number] = _Type(True, type_.root, entries.keys[slot], slot, last)
            else:
                self.types[number] = _Type(False, type_.root, type_.child, slot, last)
                self._has_nested = True

    def _delete(self, client: int, start: int, end: int, news: _News) -> None:
        entries = self._entries
        for slot, element in entries.between(client, start, end):
            if not entries.is_head(slot, element):
                if news.deletes_what_it_knew(element) and element not in news.replaced:
                    news.deleted.append((slot, False))  # its author had not seen the replacement
            elif not entries.deleted[slot]:
                entries.deleted[slot] = True
                if element not in news.tips:
                    news.deleted.append((slot, True))

    def _told(self, tip: _Tip, news: _News) -> Write | None:
        entries = self._entries
        struct, slot = tip.struct, tip.slot
        last = (struct[0], struct[1] + struct[2] - 1)
        alive = self._is_alive(self.types[entries.type_of(slot)])
        if not alive and not tip.lost:
            return None  # the update itself deletes the map
        head = entries.is_head(slot, last)
        deleted = entries.deleted[slot] if head else struct[3] == DELETED or _covers(news.deletions, last)
        value = None if deleted else _value(news.checked.update, struct)
        kind: Literal["set", "delete"] = "delete" if deleted else "set"
        return self._write(slot, kind, value, head=head and alive, seen=tip.seen, client=struct[0])

    def _inside(self, history: DocumentIndex, runs: _Ranges, deletions: _Ranges, news: _News) -> list[Write]:
        """The writes inside existing shared types."""
        touched: dict[_Type, int] = {}  # to a client
        types = self.types
        for client, (_, places) in runs.items():
            for place in places:
                type_ = types.get(place >> TYPE_SHIFT)
                if type_ is not None and not type_.fields:
                    touched[type_] = client
        for client, (starts, ends) in deletions.items():
            for start, end in zip(starts, ends, strict=True):
                for place in history.places_between(client, start, end):
                    type_ = types.get(place >> TYPE_SHIFT)
                    if type_ is not None and not type_.fields and type_ not in touched and self._is_alive(type_):
                        touched[type_] = news.author
        return [
            self._write(type_.slot, "inside", NESTED, head=alive, seen=alive, client=client)
            for type_, client in touched.items()
            if type_.item is not None and not news.is_new(type_.item)
            for alive in (self._is_alive(type_),)
        ]

    def _is_alive(self, type_: _Type) -> bool:
        """Whether it can be reached from its root."""
        while type_.item is not None:
            if self._entries.deleted[type_.slot] or not self._entries.is_head(type_.slot, type_.item):
                return False
            type_ = self.types[self._entries.type_of(type_.slot)]
        return True

    def _write(
        self,
        slot: int,
        kind: Literal["set", "delete", "inside"],
        value: Any,
        *,
        head: bool,
        seen: bool,
        client: int,
    ) -> Write:
        entries = self._entries
        map_ = self.types[entries.type_of(slot)]
        if map_.child is None and map_.root in self.mapped:
            return Write(map_.root, entries.keys[slot], None, kind, value, head, seen, client)
        return Write(map_.root, map_.child, entries.keys[slot], kind, value, head, seen, client)

    def heads(
        self, history: DocumentIndex, root: str, child: str | None = None, keys: Iterable[str] | None = None
    ) -> dict[str, Id]:
        """Key -> its newest write, deleted or not; only of ``keys``, if they are given."""
        number: int | None = history.roots.get(root)
        if child is not None:
            item = self.head(history, root, child)
            number = history.type_at(*item) if item is not None else 0
        type_ = self.types.get(number or 0)
        if type_ is None or not type_.fields:
            return {}
        slots = self._entries.slots.get(number or 0, {})
        return {key: self._entries.head(slots[key]) for key in (slots if keys is None else keys) if key in slots}

    def head(self, history: DocumentIndex, root: str, key: str) -> Id | None:
        """The newest write of one key, deleted or not."""
        slot = self._entries.slots.get(history.roots.get(root, 0), {}).get(key)
        return None if slot is None else self._entries.head(slot)

    def dump(self) -> FieldsDump:
        """Everything, for :meth:`load`."""
        types: dict[_Type, list[int]] = {}
        for number, type_ in self.types.items():
            types.setdefault(type_, []).append(number)
        return sorted(self.mapped), self._entries.dump(), list(types.items())

    @classmethod
    def load(cls, dump: FieldsDump) -> Fields:
        """The inverse of :meth:`dump`. Raises :class:`ValueError` if ``dump`` is inconsistent."""
        mapped, entries, types = dump
        fields = cls(mapped)
        fields._entries = Entries.load(entries)
        for type_, numbers in types:
            fields.types.update(dict.fromkeys(numbers, type_))
            fields._has_nested = fields._has_nested or not type_.fields
            if type_.item is None:
                fields._awaited.discard(type_.root)
        return fields


class _News:
    """The news in one update. ``live``: it deletes only elements that its author saw alive."""

    __slots__ = ("author", "checked", "deleted", "deletions", "live", "replaced", "tips")

    def __init__(self, checked: Checked, deletions: _Ranges, *, live: bool) -> None:
        self.checked = checked
        self.deletions = deletions
        self.live = live
        self.author = next(iter(checked.before)) if len(checked.before) == 1 else 0
        self.tips: dict[Id, _Tip] = {}
        self.replaced: set[Id] = set()
        self.deleted: list[tuple[int, bool]] = []  # slot, whether its head

    def is_new(self, element: Id) -> bool:
        """Whether this update introduces an element."""
        return element[1] >= self.checked.before.get(element[0], element[1] + 1)

    def deletes_what_it_knew(self, element: Id) -> bool:
        """Whether it deletes an existing element that its author saw alive until then."""
        if not self.live or not _covers(self.deletions, element):
            return False
        client, clock = element  # an update that brings what it deletes is a copy of a whole document
        return not any(of == client and start <= clock < start + size for of, start, size, *_ in self.checked.structs)


_FEW = 64  # structs and deletions of an update that somebody has just made


def _deletes_content(history: DocumentIndex, checked: Checked, types: Mapping[int, _Type]) -> bool:
    """Whether the one deletion of a simple update, if any, affects only content."""
    for client, clock, length in checked.deletes:
        starts, places = history.runs[client]
        i = bisect_right(starts, clock)
        if places[i - 1] >> TYPE_SHIFT in types or (i < len(starts) and starts[i] < clock + length):
            return False
    return True


def _are_same(deletes: Sequence[DeletedRange], elements: Collection[Id]) -> bool:
    """Whether exactly these elements are deleted."""
    left = len(elements)
    for client, clock, length in deletes:
        left -= length
        if left < 0:
            return False
        for n in range(clock, clock + length):
            if (client, n) not in elements:
                return False
    return not left


def _has_content(history: DocumentIndex, runs: _Ranges, deletions: _Ranges, types: Mapping[int, _Type]) -> bool:
    """Whether anything is written or deleted outside of ``types``."""
    for _, places in runs.values():
        for place in places:
            if place and place >> TYPE_SHIFT not in types:
                return True
    for client, (starts, ends) in deletions.items():
        for start, end in zip(starts, ends, strict=True):
            for place in history.places_between(client, start, end):
                if place and place >> TYPE_SHIFT not in types:
                    return True
    return False


def _covers(ranges: _Ranges, element: Id) -> bool:
    found = ranges.get(element[0])
    if found is None:
        return False
    i = bisect_right(found[0], element[1]) - 1
    return i >= 0 and element[1] < found[1][i]


def _value(update: bytes, struct: Struct) -> Any:
    ref, start = struct[3], struct[8]
    if ref == TYPE:
        return NESTED
    if struct[2] > 1:
        return None  # only deleted ones have several values
    if ref == ANY:
        return read_any(update, start + 1)[0]
    if ref == BINARY:
        return b64encode(read_bytes(update, start)[0]).decode()
    return read_string(update, start)[0]
