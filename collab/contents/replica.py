"""A Yjs document in plain Python: items in their order, nothing forgotten.

It serves to read a document once, in a process that may take its time; the live document is the CRDT library's. Order
and deletion follow Yjs exactly: https://github.com/yjs/yjs ``src/structs/Item.js`` (``integrate``), and
``src/utils/StructStore.js``.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence

from collab.contents.items import ROOT, TEXTUAL, ItemRun, Rivals, Stretch, Type, content_of, cut_behind
from collab.gate.order import add_in_order
from collab.gate.struct_content import DELETED, FORMAT, GC, SKIP, STRING, Malformed
from collab.gate.structs import Id, Struct, read

_LONGEST = 256
"""Characters of an item that grows while its author types: each time, all of them are copied."""


class Replica:
    """A document of ``size`` items. ``turn`` is the number of the current turn."""

    def __init__(self) -> None:
        self.roots: dict[str, Type] = {}
        self.state: dict[int, int] = {}
        self.turn = 1
        self.size = 0
        self.touched: dict[Type, set[str]] = {}
        """Types that this turn changed, with the keys of their maps that it wrote or deleted."""
        self._before: dict[int, int] = {}  # clocks of those who wrote in this turn, before it
        self._items: dict[int, list[ItemRun]] = {}
        self._clocks: dict[int, array[int]] = {}

    @classmethod
    def of(cls, updates: Sequence[bytes]) -> Replica:
        """The document after ``updates`` in their order (see :meth:`extend`)."""
        replica = cls()
        replica.extend(updates)
        return replica

    def extend(self, updates: Sequence[bytes]) -> None:
        """Apply log rows. Unreadable ones are skipped, as they are in the live document."""
        for update in updates:
            try:
                self.apply(update)
            except Malformed:
                continue

    def begin(self) -> None:
        """Begin the next turn."""
        self.turn += 1
        self._before = {}
        self.touched = {}

    def is_new(self, item: ItemRun) -> bool:
        """Whether it was added in the current turn."""
        before = self._before.get(item.client)
        return before is not None and item.clock >= before

    def apply(self, update: bytes) -> None:
        """Apply an update, except for parts that depend on unknown elements. Raises :class:`Malformed`."""
        parts = read(update, len(update))

        def add(struct: Struct) -> Id | None:
            missing = self._missing(struct)
            if missing is None:
                self._add(parts.source, struct)
            return missing

        add_in_order(parts.structs, add, lambda client: self.state.get(client, 0))
        for client, clock, length in parts.deletes:
            self._delete_range(client, clock, clock + length)

    def find(self, client: int, clock: int) -> ItemRun | None:
        """The item that contains an element."""
        if clock >= self.state.get(client, 0):
            return None
        return self._items[client][bisect_right(self._clocks[client], clock) - 1]

    def root(self, name: str) -> Type:
        """A root type, created if it does not exist."""
        root = self.roots.get(name)
        if root is None:
            root = self.roots[name] = Type(ROOT, name)
        return root

    def _missing(self, struct: Struct) -> Id | None:
        client, clock, _, ref, origin, right, parent, *_ = struct
        known = self.state.get
        if clock > known(client, 0) or ref == SKIP:
            return client, clock - 1 if ref != SKIP else clock
        for other in (origin, right, parent):
            if other is not None and not isinstance(other, str) and other[1] >= known(other[0], 0):
                return other
        return None

    def _add(self, source: bytes, struct: Struct) -> None:
        client, clock, length, ref, origin, right_id, parent_id, key, start, end = struct
        known = self.state.get(client, 0)
        if clock + length <= known or (ref == STRING and self._extend_last(source, struct)):
            return
        item = ItemRun(client, clock, length, ref, content_of(source, ref, start, end), origin, right_id)
        if isinstance(item.content, Type):
            item.content.item = item
        left = self._ending_at(origin) if origin is not None else None
        right = self._starting_at(right_id) if right_id is not None else None
        parent: Type | None = None
        if ref != GC and (left is None or left.parent) and (right is None or right.parent):
            if isinstance(parent_id, str):
                parent = self.root(parent_id)
            elif parent_id is not None:
                holder = self.find(*parent_id)
                if holder is not None and holder.parent is not None and isinstance(holder.content, Type):
                    parent = holder.content
            else:
                near = left or right
                assert near is not None
                parent, key = near.parent, near.key
        if clock < known:  # its beginning is known
            left = self._ending_at((client, known - 1))
            item = cut_behind(item, known - clock)
            item.origin = (client, known - 1)
        self._store(item)
        if parent is not None:
            self._integrate(item, parent, key, left, right)

    def _extend_last(self, source: bytes, struct: Struct) -> bool:
        """Append characters to the last item of their author, if they were typed behind it in the same turn.

        Otherwise each character that was logged by itself would be an item. Returns whether they were appended.
        """
        client, clock, length, ref, origin, right_id, *_, start, end = struct
        if origin != (client, clock - 1) or client not in self._before or clock != self.state[client]:
            return False
        item = self._items[client][-1]
        behind = item.right
        if (
            item.ref != STRING
            or item.deleted
            or item.stretch is None
            or not self.is_new(item)
            or item.right_origin != right_id
            or right_id != (None if behind is None else (behind.client, behind.clock))
            or item.length + length > _LONGEST
        ):
            return False
        text = content_of(source, ref, start, end)
        assert isinstance(item.content, str)
        assert isinstance(text, str)
        item.content += text
        item.length += length
        item.stretch.length += length
        self.state[client] = clock + length
        return True

    def _integrate(
        self, item: ItemRun, parent: Type, key: str | None, left: ItemRun | None, right: ItemRun | None
    ) -> None:
        if (left is None and (right is None or right.left is not None)) or (
            left is not None and left.right is not right
        ):
            left = self._left_of(item, parent, key, left, right)
        item.parent, item.key, item.left = parent, key, left
        if item.ref == DELETED:
            item.deleted = self.turn
        rivals = parent.rivals.setdefault(key, Rivals()) if key is not None else None
        if left is not None:
            item.right, left.right = left.right, item
        elif rivals is None:
            item.right, parent.start = parent.start, item
        else:
            item.right, rivals.first = rivals.first, item
        if item.right is not None:
            item.right.left = item
        elif key is not None:
            parent.entries[key] = item
            if left is not None:
                self._delete(left)
        if rivals is None:
            self._stretch(item, parent, left)
        elif item.origin is None:
            rivals.add(item)
        self._touch(parent, key)
        if (parent.item is not None and parent.item.deleted) or (key is not None and item.right is not None):
            self._delete(item)

    def _stretch(self, item: ItemRun, parent: Type, left: ItemRun | None) -> None:
        """Take a new item of a list into the stretch of its neighbour."""
        neighbour = left if left is not None else item.right
        stretch = neighbour.stretch if neighbour is not None else None
        if stretch is None:
            stretch = Stretch(item)
        elif left is None:
            stretch.first = item
        stretch.turn = self.turn
        if item.ref in TEXTUAL:
            parent.has_text = True
        stretch.add(item)

    def _left_of(
        self, item: ItemRun, parent: Type, key: str | None, left: ItemRun | None, right: ItemRun | None
    ) -> ItemRun | None:
        """The place of an item among those that were written concurrently at the same place."""
        rivals = parent.rivals.get(key) if key is not None else None
        if rivals is not None and rivals.sorted and item.origin is None and right is None:
            place = rivals.place(item.client)
            return rivals.items[place].left if place < len(rivals.items) else parent.entries.get(key or "")
        other: ItemRun | None
        if left is not None:
            other = left.right
        elif key is not None:
            other = rivals.first if rivals is not None else None
        else:
            other = parent.start
        conflicting: set[ItemRun] = set()
        passed: set[ItemRun] = set()
        while other is not None and other is not right:
            passed.add(other)
            conflicting.add(other)
            if item.origin == other.origin:
                if other.client < item.client:
                    left = other
                    conflicting.clear()
                elif item.right_origin == other.right_origin:
                    break
            else:
                origin = self.find(*other.origin) if other.origin is not None else None
                if origin is None or origin not in passed:
                    break
                if origin not in conflicting:
                    left = other
                    conflicting.clear()
            other = other.right
        return left

    # the store

    def _store(self, item: ItemRun) -> None:
        items = self._items.get(item.client)
        if items is None:
            items = self._items[item.client] = []
            self._clocks[item.client] = array("Q")
        items.append(item)
        self.size += 1
        self._before.setdefault(item.client, item.clock)
        self._clocks[item.client].append(item.clock)
        self.state[item.client] = item.clock + item.length

    def _starting_at(self, element: Id) -> ItemRun:
        item = self.find(*element)
        assert item is not None
        return item if item.clock == element[1] else self._split(item, element[1] - item.clock)

    def _ending_at(self, element: Id) -> ItemRun:
        item = self.find(*element)
        assert item is not None
        if item.clock + item.length - 1 > element[1]:
            self._split(item, element[1] + 1 - item.clock)
        return item

    def _split(self, item: ItemRun, at: int) -> ItemRun:
        """Split an item; return the second part."""
        rest = cut_behind(item, at)
        rest.origin = (item.client, item.clock + at - 1)
        clocks = self._clocks[item.client]
        place = bisect_right(clocks, item.clock)
        clocks.insert(place, rest.clock)
        self._items[item.client].insert(place, rest)
        self.size += 1
        if item.parent is not None:
            rest.parent, rest.key, rest.left, rest.right = item.parent, item.key, item, item.right
            item.right = rest
            if rest.right is not None:
                rest.right.left = rest
            elif rest.key is not None:
                item.parent.entries[rest.key] = rest
            if item.stretch is not None:
                item.stretch.take(rest)
        return rest

    def _delete_range(self, client: int, clock: int, end: int) -> None:
        end = min(end, self.state.get(client, 0))
        while clock < end:
            item = self.find(client, clock)
            assert item is not None
            if item.deleted or item.parent is None:
                clock = item.clock + item.length
                continue
            if item.clock < clock:
                item = self._split(item, clock - item.clock)
            if item.clock + item.length > end:
                self._split(item, end - item.clock)
            self._delete(item)
            clock = item.clock + item.length

    def _delete(self, item: ItemRun) -> None:
        """Delete an item with everything inside it."""
        dying = [item]
        while dying:
            item = dying.pop()
            if item.deleted:
                continue
            if item.stretch is not None:
                item.stretch.turn = self.turn
                if item.ref != FORMAT:
                    item.stretch.length -= item.length
            item.deleted = self.turn
            if item.parent is not None:
                self._touch(item.parent, item.key)
            if isinstance(item.content, Type):
                dying += (below for below in item.content.items() if not below.deleted)
                dying += (below for below in item.content.entries.values() if not below.deleted)

    def _touch(self, type_: Type, key: str | None) -> None:
        keys = self.touched.get(type_)
        if keys is None:
            keys = self.touched[type_] = set()
        if key is not None:
            keys.add(key)
