"""An edit under way: new elements and deletions, until they are encoded as one update."""

from __future__ import annotations

from collections.abc import Sequence

from collab.contents.items import Type
from collab.contents.pieces import ItemPiece
from collab.contents.replica import Replica
from collab.gate.encode import encode_update
from collab.gate.structs import DeletedRange, Id, Struct


class Draft:
    """An edit of ``now``, written under ``client``, which must be unknown to it."""

    def __init__(self, now: Replica, client: int) -> None:
        self._now = now
        self._client = client
        self._clock = 0
        self._contents = bytearray()
        self._structs: list[Struct] = []
        self._deletes: list[DeletedRange] = []

    def add(
        self,
        ref: int,
        content: bytes,
        size: int,
        origin: Id | None,
        right: Id | None,
        parent: Id | str,
        key: str | None = None,
    ) -> Id:
        """Write ``size`` new elements of one kind behind ``origin``; return the first one."""
        first = (self._client, self._clock)
        begins = len(self._contents)
        self._contents += content
        self._structs.append((*first, size, ref, origin, right, parent, key, begins, len(self._contents)))
        self._clock += size
        return first

    def delete(self, piece: ItemPiece) -> None:
        """Delete elements with everything inside them."""
        dying = [piece]
        while dying:
            item, start, end = dying.pop()
            self._deletes.append((item.client, item.clock + start, end - start))
            if isinstance(item.content, Type):
                below = (*item.content.items(), *item.content.entries.values())
                dying += ((each, 0, each.length) for each in below if not each.deleted)

    def right_of(self, type_: Type, left: Id | None) -> Id | None:
        """The element that stands behind ``left`` in a list of ``now``, deleted or not; without it, the first one."""
        if left is None:
            item = type_.start
        else:
            item = self._now.find(*left)
            assert item is not None
            if left != item.last:
                return left[0], left[1] + 1
            item = item.right
        return (item.client, item.clock) if item is not None else None

    def encoded(self) -> bytes | None:
        """Everything as one update; ``None`` if it is empty."""
        if not self._structs and not self._deletes:
            return None
        return encode_update(bytes(self._contents), self._structs, _merged(self._deletes))


def parent_of(type_: Type) -> Id | str:
    """How an element names the type that it is in."""
    return type_.name if type_.item is None else (type_.item.client, type_.item.clock)


def _merged(deletes: Sequence[DeletedRange]) -> list[DeletedRange]:
    """The same deletions, with adjacent ones merged."""
    merged: list[DeletedRange] = []
    for client, clock, length in sorted(deletes):
        if merged and merged[-1][0] == client and sum(merged[-1][1:]) == clock:
            merged[-1] = (client, merged[-1][1], merged[-1][2] + length)
        else:
            merged.append((client, clock, length))
    return merged
