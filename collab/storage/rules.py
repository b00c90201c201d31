"""Rules that all our storages share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Final

from collab.errors import InvalidRequest
from collab.query.match import ID
from collab.query.query import IndexPaths, Order
from collab.storage.base import CommitId, Committed, Fact

DEAD_LETTERS: Final = 10_000
"""The number of newest dead letters kept per webhook."""

REQUEST_SECONDS: Final = 24 * 3600.0
"""How long a named write is remembered."""


WRITERS: Final = 100
"""Whose newest receipts are kept: a process that commits is one."""


def is_simple(name: str) -> bool:
    """Whether JSON has a member's name unescaped. Only members with such names can be indexed."""
    return '"' not in name and "\\" not in name and min(name, default=" ") >= " "


def indexes_to_build(collection: str, indexes: Sequence[IndexPaths]) -> list[IndexPaths]:
    """The indexes without duplicates and without what ``id`` makes superfluous: each index ends with the id anyway.

    Raises :class:`InvalidRequest` for a member that no index can hold.
    """
    for path in (path for paths in indexes for path in paths):
        if not all(map(is_simple, path)):
            raise InvalidRequest(f"{collection}: the member {'.'.join(path)!r} cannot be indexed because of its name")
    cut = (tuple(takewhile(lambda path: path != ID, paths)) for paths in indexes)
    return [paths for paths in dict.fromkeys(cut) if paths]


def deciding_orders(order_by: Sequence[Order]) -> list[Order]:
    """The orders up to that of ``id``, which no two rows share; it is the last one unless it comes earlier."""
    orders = list(takewhile(lambda order: order.path != ID, order_by))
    return [*orders, next((order for order in order_by if order.path == ID), Order(ID))]


def check_repeat(commit_id: CommitId, number: int, answer: Committed) -> Committed:
    """The answer of commit ``number``, which is the newest of its writer, to who asks for commit ``commit_id`` again.

    Raises :class:`ValueError` if that is an older one.
    """
    if commit_id.number != number:
        raise ValueError(f"commit {commit_id.number} cannot be repeated after commit {number} of the same writer")
    return answer


def reach_of(fact: Fact, seqs: Sequence[int], seq: int, reach: int) -> int:
    """The log row up to which the document belongs to an event.

    That is its own row. An event without a row belongs to what it covers, or, if it deletes or restores the entity, to
    the whole log (``seq``); and never to less than the event before it (``reach``).
    """
    if fact.row >= 0:
        return max(reach, seqs[fact.row])
    if fact.event.type in ("deleted", "restored"):
        return max(reach, seq)
    return max(reach, fact.entity.content_seq)
