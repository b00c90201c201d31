from __future__ import annotations

import pytest

from collab.rooms.live.recent import RecentRows
from collab.storage.base import LogRow


def row(seq: int, size: int = 10) -> LogRow:
    return LogRow(seq, b"x" * size, None, 0.0)


def filled(*seqs: int) -> RecentRows:
    recent = RecentRows(10_000)
    for seq in seqs:
        recent.add(row(seq))
    return recent


def test_rows_are_taken_once_and_in_order() -> None:
    recent = filled(3, 4, 5)
    assert recent.take_after(3) == [row(4), row(5)]
    assert recent.take_after(3) is None
    recent.add(row(6))
    assert recent.take_after(5) == [row(6)]


@pytest.mark.parametrize(
    ("seqs", "after"), [((), 0), ((3, 4), 1), ((3, 5), 2), ((3, 4), 4)], ids=["none", "begins late", "gap", "old"]
)
def test_the_storage_must_be_asked_if_a_row_is_unknown(seqs: tuple[int, ...], after: int) -> None:
    assert filled(*seqs).take_after(after) is None


def test_rows_beyond_the_limit_are_forgotten_with_those_before() -> None:
    recent = RecentRows(10_000)
    for seq in range(1, 9):
        recent.add(row(seq, 1000))
    assert len(recent.take_after(0) or ()) == 8
    for seq in range(9, 18):
        recent.add(row(seq, 1000))
    assert recent.take_after(8) is None
    recent.add(row(18))
    assert recent.take_after(17) == [row(18)], "from then on they are kept again"
