"""Checks the order of an element's left and right origins.

Every editor inserts an element between two that are adjacent in its document, so the left origin is left of the right
one in every replica. If they are the other way round, the element ends up in another place for connected clients than
for all who join later. The gate keeps no order of elements, so it returns the few pairs that it cannot judge, and the
document is asked: about one in 30 typed characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pycrdt

from collab.gate.struct_content import Malformed
from collab.gate.structs import Id, Neighbours
from presence.lib0 import encode_uint

_AFTER, _BEFORE = b"\x00", b"\x41"  # assoc 0 and -1, as lib0 writes signed numbers


def check_neighbours(doc: pycrdt.Doc[Any], neighbours: Sequence[Neighbours]) -> None:
    """Raise :class:`Malformed` if in any pair the right origin is to the left of the left one."""
    if neighbours and are_inverted(doc, neighbours):
        raise Malformed("the left and right origins of an element are in reverse order")


def are_inverted(doc: pycrdt.Doc[Any], neighbours: Iterable[Neighbours]) -> bool:
    """Whether in any pair the right origin is to the left of the left one.

    Elements that do not count (deleted ones, formatting marks) pass in either order if nothing else is between them.
    """
    with doc.transaction() as transaction:
        return any(_is_before(transaction, right, left) for left, right in neighbours)


def _is_before(transaction: pycrdt.Transaction, one: Id, other: Id) -> bool:
    try:
        return _position(one, _AFTER).get_index(transaction) < _position(other, _BEFORE).get_index(transaction)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # pycrdt panics if they were deleted along with their parent type
        return False


def _position(element: Id, assoc: bytes) -> pycrdt.StickyIndex:
    client, clock = element
    return pycrdt.StickyIndex.decode(b"\x00" + encode_uint(client) + encode_uint(clock) + assoc)
