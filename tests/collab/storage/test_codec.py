from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from collab.names import RoomKey
from collab.storage.base import LogRow, SetAside
from collab.storage.codec import encodable, from_json, keys_of, pack_pieces, pack_rows, to_json, unpack_rows

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
ROWS = st.lists(
    st.builds(
        LogRow, st.integers(1, 2**40), st.binary(max_size=20), st.none() | st.text(max_size=3), st.floats(0, 1e10)
    )
)


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_json_comes_back_as_it_was(value: dict[str, Any]) -> None:
    assert from_json(to_json(value)) == value


@given(st.dictionaries(st.text(st.characters()), st.text(st.characters()), max_size=3))
def test_any_text_can_be_written(value: dict[str, str]) -> None:
    assert from_json(to_json(value)) == encodable(value)


def test_numbers_that_are_not_finite_become_null() -> None:
    assert from_json(to_json({"a": float("nan"), "b": float("-inf")})) == {"a": None, "b": None}


def test_a_lone_surrogate_becomes_a_question_mark() -> None:
    assert from_json(to_json({"\ud800": ["a\udfffb"]})) == {"?": ["a?b"]}


def test_keys_are_kept_apart_only_where_they_differ() -> None:
    assert keys_of({"a": 1, "b": "text", "at": "2024-01-31T12:00:00.000000Z"}) is None
    keys = keys_of({"a": {"at": ["2024-01-31T13:00:00+01:00"]}})
    assert keys == '{"a":{"at":["2024-01-31T12:00:00.000000Z"]}}'


@given(ROWS)
def test_packed_rows_come_back_as_they_were(rows: list[LogRow]) -> None:
    assert unpack_rows(pack_rows(rows)) == rows


def test_rows_are_packed_in_pieces_of_bounded_size_without_gaps() -> None:
    rows = [LogRow(seq, bytes(300_000), None, float(seq)) for seq in range(4, 11)]
    pieces = pack_pieces(rows, [], 2, 12)
    contents = [unpack_rows(piece.content) for piece in pieces]
    assert [row for piece in contents for row in piece] == rows
    assert all(sum(len(row.update) for row in piece) <= 1024 * 1024 for piece in contents)
    assert [(piece.from_seq, piece.to_seq, piece.from_at, piece.to_at) for piece in pieces] == [
        (3, 6, 4.0, 6.0),
        (7, 9, 7.0, 9.0),
        (10, 12, 10.0, 10.0),
    ]
    assert len(pack_pieces([LogRow(1, bytes(5_000_000), None, 0.0)] * 2, [], 0, 2)) == 2


def test_rows_that_were_set_aside_count_as_time_but_have_no_content() -> None:
    aside = [SetAside(RoomKey("p", "c", "i"), seq, b"x", "hostile", float(seq)) for seq in (2, 3, 9)]
    (piece,) = pack_pieces([], aside, 1, 3)
    assert (piece.from_seq, piece.to_seq, piece.from_at, piece.to_at) == (2, 3, 2.0, 3.0)
    assert unpack_rows(piece.content) == []
