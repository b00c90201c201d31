"""The edit that makes one document equal to another.

Documents of one history share elements: those alive in both stay, along with the cursors in them. Elements added since
are deleted, and elements deleted since are written again in their place; in text also the beginnings and ends of marks,
each as its own element. Where nothing is shared (it was restored before), equal contents stay. Contents are copied as
bytes, so that nothing is lost for lack of a representation.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from collab.contents.draft import Draft, parent_of
from collab.contents.items import ROOT, ItemRun, Type
from collab.contents.pieces import ItemPiece, alike, alive, apart, cut, equal_units, joined, last_of, shrunk, size_of
from collab.contents.replica import Replica
from collab.contents.tree import ContentValue, Embed, Node, Run, format_of, node_of, value_of
from collab.contents.values import encode_units, equal
from collab.gate.struct_content import FORMAT, STRING, TYPE
from collab.gate.structs import Id
from presence.lib0 import encode_string, encode_uint


def restore(now: Replica, then: Replica, without: Collection[str], client: int) -> bytes | None:
    """An update (Yjs encoding v1) after which the roots of ``now``, except ``without``, equal those of ``then``.

    It is written under ``client``, which must be unknown to ``now``. ``None`` if nothing differs.
    """
    edit = _Edit(now, client)
    for name in sorted({*now.roots, *then.roots} - set(without)):
        edit.make_like(now.roots.get(name) or Type(ROOT, name), then.roots.get(name) or Type(ROOT, name))
    return edit.encoded()


class _Edit:
    """Collects new structs and deletions."""

    def __init__(self, now: Replica, client: int) -> None:
        self._draft = Draft(now, client)
        self._nodes: dict[Type, Node] = {}

    def make_like(self, new: Type, old: Type) -> None:
        """Make a type of the document equal to another."""
        inside = [(new, old)]
        while inside:
            new, old = inside.pop()
            inside += self._entries(new, old)
            inside += self._list(new, old)

    def _entries(self, new: Type, old: Type) -> Iterator[tuple[Type, Type]]:
        for key in sorted({*new.entries, *old.entries}):
            mine, theirs = new.entries.get(key), old.entries.get(key)
            present = mine if mine is not None and not mine.deleted else None
            if theirs is None or theirs.deleted:
                if present is not None:
                    self._draft.delete((present, 0, present.length))
                continue
            if present is not None:
                if alike(present, theirs):
                    yield _type(present), _type(theirs)
                    continue
                if self._same_value(present, -1, theirs, -1):
                    continue
                self._draft.delete((present, 0, present.length))
            origin = mine.last if mine is not None else None
            self._copy((theirs, theirs.length - 1, theirs.length), origin, None, parent_of(new), key)

    def _list(self, new: Type, old: Type) -> Iterator[tuple[Type, Type]]:
        mine, theirs = alive(new), alive(old)
        left: Id | None = None
        for gone, come, kept in apart(mine, theirs):
            yield from self._gap(new, gone, come, left)
            if kept is not None:
                (item, _, end), (other, *_) = kept
                if item.ref == TYPE:
                    yield _type(item), _type(other)
                left = (item.client, item.clock + end - 1)

    def _gap(
        self, new: Type, gone: list[ItemPiece], come: list[ItemPiece], left: Id | None
    ) -> Iterator[tuple[Type, Type]]:
        """Replace ``gone`` by ``come``, behind ``left``; they share no elements."""
        if gone and come:
            size = self._common(gone, come, from_end=False)
            if size:
                left = last_of(cut(gone, size)[0])
                gone, come = cut(gone, size)[1], cut(come, size)[1]
            size = self._common(gone, come, from_end=True)
            if size:
                gone, come = cut(gone, size_of(gone) - size)[0], cut(come, size_of(come) - size)[0]
            pairs = list(zip(gone, come, strict=False))
            if len(gone) == len(come) and all(alike(mine[0], theirs[0]) for mine, theirs in pairs):
                yield from ((_type(mine[0]), _type(theirs[0])) for mine, theirs in pairs)
                return
        for piece in gone:
            self._draft.delete(piece)
        right = self._draft.right_of(new, left)
        for piece in joined(come):
            left = self._copy(piece, left, right, parent_of(new), None)

    # comparing

    def _common(self, mine: Sequence[ItemPiece], theirs: Sequence[ItemPiece], *, from_end: bool) -> int:
        """The number of equal elements from one end. Never splits a surrogate pair."""
        if from_end:
            mine, theirs = mine[::-1], theirs[::-1]
        common = i = j = done = passed = 0  # how much of the two current pieces was compared
        while i < len(mine) and j < len(theirs):
            size = min(size_of(mine[i : i + 1]) - done, size_of(theirs[j : j + 1]) - passed)
            one, other = shrunk(mine[i], done, size, from_end), shrunk(theirs[j], passed, size, from_end)
            equal_ones = self._equal(one, other, from_end)
            common += equal_ones
            if equal_ones < size:
                break
            done, passed = done + size, passed + size
            if done == size_of(mine[i : i + 1]):
                i, done = i + 1, 0
            if passed == size_of(theirs[j : j + 1]):
                j, passed = j + 1, 0
        return common

    def _equal(self, mine: ItemPiece, theirs: ItemPiece, from_end: bool) -> int:
        """The number of equal elements of two pieces of the same size."""
        (one, start, end), (other, at, _) = mine, theirs
        if one.ref != other.ref:
            return 0
        if one.ref == STRING:
            assert isinstance(one.content, str)
            assert isinstance(other.content, str)
            return equal_units(one.content[start:end], other.content[at : at + end - start], from_end)
        for n in range(end - start):
            k = end - start - 1 - n if from_end else n
            if not self._same_value(one, start + k, other, at + k):
                return n
        return end - start

    def _same_value(self, one: ItemRun, at: int, other: ItemRun, place: int) -> bool:
        if one.ref == FORMAT or other.ref == FORMAT:
            return one.ref == other.ref and equal(list(format_of(one)), list(format_of(other)))
        return _same(self._value(one, at), self._value(other, place))

    def _value(self, item: ItemRun, at: int) -> ContentValue:
        if not isinstance(item.content, Type):
            return value_of(item, at)
        node = self._nodes.get(item.content)
        if node is None:
            node = self._nodes[item.content] = node_of(item.content)
        return node

    # writing

    def _copy(self, piece: ItemPiece, origin: Id | None, right: Id | None, parent: Id | str, key: str | None) -> Id:
        """Write a piece and everything inside it; return its last new element."""
        item, start, end = piece
        content = item.content
        size = end - start
        if isinstance(content, str):
            raw = encode_units(content[start:end])
        elif isinstance(content, list):
            raw = encode_uint(size) + b"".join(content[start:end])
        elif isinstance(content, Type):
            raw = encode_uint(content.kind) + (encode_string(content.name) if content.name else b"")
        else:
            raw = content
        first = self._draft.add(item.ref, raw, size, origin, right, parent, key)
        if isinstance(content, Type):
            for name, entry in content.entries.items():
                if not entry.deleted:
                    self._copy((entry, entry.length - 1, entry.length), None, None, first, name)
            last: Id | None = None
            for below in joined(alive(content)):
                last = self._copy(below, last, None, first, None)
            return first
        return first[0], first[1] + size - 1

    def encoded(self) -> bytes | None:
        """Everything as one update; ``None`` if it is empty."""
        return self._draft.encoded()


def _same(one: ContentValue, other: ContentValue) -> bool:
    """Whether two values are equal."""
    if isinstance(one, Node) and isinstance(other, Node):
        return (
            (one.kind, one.name) == (other.kind, other.name)
            and one.entries.keys() == other.entries.keys()
            and len(one.children) == len(other.children)
            and all(_same(value, other.entries[key]) for key, value in one.entries.items())
            and all(map(_same_child, one.children, other.children))
        )
    return not isinstance(one, Node) and not isinstance(other, Node) and equal(one, other)


def _same_child(one: Run | Embed, other: Run | Embed) -> bool:
    if not equal(one.marks, other.marks):
        return False
    if isinstance(one, Run) or isinstance(other, Run):
        return isinstance(one, Run) and isinstance(other, Run) and one.text == other.text
    return _same(one.value, other.value)


def _type(item: ItemRun) -> Type:
    assert isinstance(item.content, Type)
    return item.content
