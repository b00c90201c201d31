"""The items of a Yjs document, and the shared types that they form. They follow Yjs' ``Item`` and ``AbstractType``."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from operator import attrgetter
from typing import Final

from collab.contents.values import split_values, units_of
from collab.gate.struct_content import ANY, EMBED, FORMAT, STRING, TYPE
from collab.gate.structs import Id
from presence.lib0 import read_string

ARRAY, MAP, TEXT, ELEMENT, FRAGMENT, HOOK, XML_TEXT = range(7)
"""Kinds of shared types, as Yjs encodes them."""
ROOT = 16
"""The kind of a root type: Yjs does not encode it."""

TEXTUAL = (STRING, EMBED, FORMAT)
"""What only texts contain."""

HALF: Final = "\N{REPLACEMENT CHARACTER}"


class Type:
    """A shared type. ``item`` holds it, unless it is a root with a ``name``; an XML element's ``name`` is its tag.

    ``start`` is the first item of its list; ``has_text``: there are or were characters, embeds or marks in it.
    ``entries`` holds the newest (and last) item of each key of its map, ``rivals`` the first ones.
    """

    __slots__ = ("entries", "has_text", "item", "kind", "name", "rivals", "start")

    def __init__(self, kind: int, name: str = "", item: ItemRun | None = None) -> None:
        self.kind = kind
        self.name = name
        self.item = item
        self.start: ItemRun | None = None
        self.has_text = False
        self.entries: dict[str, ItemRun] = {}
        self.rivals: dict[str, Rivals] = {}

    def items(self) -> Iterator[ItemRun]:
        """All items of the list, including deleted ones."""
        item = self.start
        while item is not None:
            yield item
            item = item.right

    def stretches(self) -> Iterator[Stretch]:
        """The stretches of the list."""
        stretch = self.start.stretch if self.start is not None else None
        while stretch is not None:
            yield stretch
            stretch = stretch.right


class Stretch:
    """Some consecutive items of a list, so that whoever looks for changes can pass over what has none.

    ``length`` counts the visible elements, ``turn`` is the last in which one of the items changed. ``has_marks``: some
    items begin or end marks.
    """

    __slots__ = ("_size", "first", "has_marks", "length", "right", "turn")

    def __init__(self, first: ItemRun) -> None:
        self.first = first
        self.right: Stretch | None = None
        self.length = 0
        self.turn = 0
        self.has_marks = False
        self._size = 0  # number of items

    def items(self) -> Iterator[ItemRun]:
        """All items, including deleted ones."""
        item: ItemRun | None = self.first
        while item is not None and item.stretch is self:
            yield item
            item = item.right

    def add(self, item: ItemRun) -> None:
        """Take in an item that was linked beside one of these."""
        if item.counts:
            self.length += item.length
        self.take(item)

    def take(self, item: ItemRun) -> None:
        """Take in an item that was cut off one of these."""
        item.stretch = self
        self._size += 1
        if item.ref == FORMAT:
            self.has_marks = True
        if self._size > _LONGEST:
            self._halve()

    def _halve(self) -> None:
        items = list(self.items())
        half = len(items) // 2
        rest = Stretch(items[half])
        rest.right, self.right = self.right, rest
        rest.turn, rest.has_marks = self.turn, self.has_marks
        self._size, rest._size = half, len(items) - half
        for item in items[half:]:
            item.stretch = rest
            if item.counts:
                rest.length += item.length
        self.length -= rest.length


_LONGEST = 128
"""Items of a stretch. To walk a long document's stretches should take no longer than to walk the items of one."""


class Rivals:
    """Items of one key of a map: the very first, and those whose authors had seen no other item of that key.

    The latter are sorted by client, so that one of 20,000 finds its place without meeting the others. If one has a
    right origin, which no Yjs client writes there, ``sorted`` becomes false.
    """

    __slots__ = ("first", "items", "sorted")

    def __init__(self) -> None:
        self.first: ItemRun | None = None
        self.items: list[ItemRun] = []
        self.sorted = True

    def place(self, client: int) -> int:
        """The number of rivals before an item of ``client``."""
        return bisect_left(self.items, client, key=_CLIENT)

    def add(self, item: ItemRun) -> None:
        """Insert an item that has found its place."""
        if item.right_origin is not None:
            self.sorted = False
        if self.sorted:
            self.items.insert(self.place(item.client), item)


_CLIENT = attrgetter("client")


class ItemRun:
    """Consecutive elements that were written at once.

    ``content`` is a string of UTF-16 code units for text, a list of encodings for plain values, a :class:`Type` for a
    shared type, otherwise the bytes in the update. ``deleted`` is the turn of its deletion, 0 if it is alive. The
    ``parent`` of garbage is ``None``, and the ``stretch`` of all that is in no list.
    """

    __slots__ = (
        "client",
        "clock",
        "content",
        "deleted",
        "key",
        "left",
        "length",
        "origin",
        "parent",
        "ref",
        "right",
        "right_origin",
        "stretch",
    )

    def __init__(
        self,
        client: int,
        clock: int,
        length: int,
        ref: int,
        content: str | list[bytes] | Type | bytes,
        origin: Id | None = None,
        right_origin: Id | None = None,
    ) -> None:
        self.client = client
        self.clock = clock
        self.length = length
        self.ref = ref
        self.content = content
        self.origin = origin
        self.right_origin = right_origin
        self.left: ItemRun | None = None
        self.right: ItemRun | None = None
        self.parent: Type | None = None
        self.key: str | None = None
        self.stretch: Stretch | None = None
        self.deleted = 0

    @property
    def last(self) -> Id:
        """The id of its last element."""
        return self.client, self.clock + self.length - 1

    @property
    def counts(self) -> bool:
        """Whether it is visible and takes up space in its list."""
        return not self.deleted and self.ref != FORMAT


def content_of(source: bytes, ref: int, start: int, end: int) -> str | list[bytes] | Type | bytes:
    """Read the content of an item from ``source[start:end]``."""
    raw = source[start:end]
    if ref == STRING:
        text = read_string(raw, 0)[0]
        return text if text.isascii() else units_of(text)
    if ref == ANY:
        return split_values(raw)
    if ref == TYPE:
        return Type(raw[0], read_string(raw, 1)[0] if raw[0] in (ELEMENT, HOOK) else "")
    return raw


def cut_behind(item: ItemRun, at: int) -> ItemRun:
    """Cut off and return the elements behind the first ``at`` of an item."""
    content = item.content
    rest = ItemRun(item.client, item.clock + at, item.length - at, item.ref, content, None, item.right_origin)
    rest.deleted = item.deleted
    if isinstance(content, str):
        item.content, rest.content = content[:at], content[at:]
        if "\ud800" <= content[at - 1] <= "\udbff":  # Yjs replaces both halves of a split surrogate pair by U+FFFD
            item.content = item.content[:-1] + HALF
            rest.content = HALF + rest.content[1:]
    elif isinstance(content, list):
        item.content, rest.content = content[:at], content[at:]
    item.length = at
    return rest
