"""Whose changes of content become one event: log rows are grouped into turns. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from collab.storage.base import LogRow

MAX_TURNS = 16
"""Turns of one flush. Where authors alternate more often than that, each of them would be a keystroke or two."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Consecutive log rows of one author: ``updates`` in order, ``seq`` and ``at`` of the last.

    ``user_id`` is ``None`` if nobody is known to have written them, or if it was more than one.
    """

    updates: Sequence[bytes]
    user_id: str | None
    seq: int
    at: float


def turns(rows: Sequence[LogRow]) -> list[Turn]:
    """Group the rows of a log, in order, by author.

    What one author wrote before and after somebody else stays apart: the second part may build on what came in between.
    If that makes more than :data:`MAX_TURNS`, all rows are one turn of nobody in particular.
    """
    grouped = [_turn(list(own), user_id) for user_id, own in groupby(rows, lambda row: row.user_id)]
    return grouped if len(grouped) <= MAX_TURNS else [_turn(rows, None)]


def _turn(rows: Sequence[LogRow], user_id: str | None) -> Turn:
    return Turn([row.update for row in rows], user_id, rows[-1].seq, rows[-1].at)
