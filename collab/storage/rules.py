"""Rules that all our storages share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from collab.storage.base import CommitId, Committed, Fact

DEAD_LETTERS: Final = 10_000
"""The number of newest dead letters kept per webhook."""

REQUEST_SECONDS: Final = 24 * 3600.0
"""How long a named write is remembered."""


WRITERS: Final = 100
"""Whose newest receipts are kept: a process that commits is one."""


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
