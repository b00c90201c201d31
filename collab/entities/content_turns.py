"""Groups log rows into turns; each turn's content changes become one event. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from collab.storage.base import LogRow

MAX_TURNS = 16
"""Maximum number of turns in one flush. If authors alternate more often, each turn is only a keystroke or two."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Consecutive log rows of one author: ``updates`` in order, ``seq`` and ``at`` of the last.

    ``user_id`` is ``None`` if the author is unknown, or if there is more than one.
    """

    updates: Sequence[bytes]
    user_id: str | None
    seq: int
    at: float


def turns(rows: Sequence[LogRow]) -> list[Turn]:
    """Group the rows of a log, in order, by author.

    Rows of one author before and after another's stay separate: the later ones may build on what came in between. If
    there would be more than :data:`MAX_TURNS`, all rows are one turn without an author.
    """
    grouped = [_turn(list(own), user_id) for user_id, own in groupby(rows, lambda row: row.user_id)]
    return grouped if len(grouped) <= MAX_TURNS else [_turn(rows, None)]


def _turn(rows: Sequence[LogRow], user_id: str | None) -> Turn:
    return Turn([row.update for row in rows], user_id, rows[-1].seq, rows[-1].at)
