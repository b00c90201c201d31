"""Log rows become turns."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from collab.entities.content_turns import MAX_TURNS, Turn, turns
from collab.storage.base import LogRow


def rows(*authors: str | None) -> list[LogRow]:
    return [LogRow(seq, b"%d" % seq, author, seq / 2) for seq, author in enumerate(authors, 1)]


def test_consecutive_rows_of_one_author_are_one_turn() -> None:
    assert turns(rows("a", "a", "b", None, None, "a")) == [
        Turn([b"1", b"2"], "a", 2, 1.0),
        Turn([b"3"], "b", 3, 1.5),
        Turn([b"4", b"5"], None, 5, 2.5),
        Turn([b"6"], "a", 6, 3.0),
    ]
    assert turns([]) == []


def test_too_many_turns_in_one_flush_become_one_without_author() -> None:
    most = rows(*"ab" * (MAX_TURNS // 2))
    assert len(turns(most)) == MAX_TURNS
    (turn,) = turns(rows(*"ab" * (MAX_TURNS // 2), "a"))
    assert (turn.user_id, turn.seq, len(turn.updates)) == (None, MAX_TURNS + 1, MAX_TURNS + 1)


@given(st.lists(st.sampled_from(["a", "b", None]), max_size=60))
def test_turns_keep_every_update_in_order(authors: list[str | None]) -> None:
    log = rows(*authors)
    made = turns(log)
    assert [update for turn in made for update in turn.updates] == [row.update for row in log]
    assert len(made) <= MAX_TURNS
    assert [turn.seq for turn in made] == sorted({turn.seq for turn in made})
    assert not log or made[-1].seq == log[-1].seq
