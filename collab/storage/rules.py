"""What all storages of ours do alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from collab.storage.base import Fact

DEAD_LETTERS: Final = 10_000
"""Of one webhook, the newest."""

REQUEST_SECONDS: Final = 24 * 3600.0
"""How long a write is known by its name."""


def reach_of(fact: Fact, seqs: Sequence[int], seq: int, reach: int) -> int:
    """The log row up to which the document belongs to an event.

    That is its own row. An event without one has seen what it covers, or all there is (``seq``) if it ends or begins
    the life of the entity; and never less than the event before it (``reach``).
    """
    if fact.row >= 0:
        return max(reach, seqs[fact.row])
    if fact.event.type in ("deleted", "restored"):
        return max(reach, seq)
    return max(reach, fact.entity.content_seq)
