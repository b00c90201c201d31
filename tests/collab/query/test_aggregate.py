"""Aggregates are exact, whatever the order of the rows."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given

from collab.errors import InvalidRequest
from collab.query.aggregate import MAX_GROUPS, Aggregation, group_row, sharer, tally
from collab.query.match import compile_where
from collab.query.parse_aggregation import parse_aggregation
from tests.collab.query.aggregations import aggregations, by_hand, same
from tests.collab.query.rows import row_lists

A = (("a",),)


def answer(rows: list[dict[str, Any]], raw: dict[str, Any]) -> list[dict[str, Any]]:
    aggregation = parse_aggregation(raw)
    found = tally(filter(compile_where(aggregation.where), rows), aggregation)
    return [group_row(aggregation, group) for group in found]


@given(row_lists(), aggregations)
def test_g_the_law_an_answer_is_what_adding_up_by_hand_gives(rows: list[dict[str, Any]], raw: dict[str, Any]) -> None:
    assert same(answer(rows, raw), by_hand(rows, parse_aggregation(raw)))


def test_g3_fractions_add_up_as_decimals() -> None:
    rows = [{"id": str(number), "a": 0.1} for number in range(10)]
    (all_,) = answer(rows, {"sum": "a", "avg": "a"})
    assert all_["sum"] == {"a": 1}
    assert all_["avg"] == {"a": 0.1}


def test_g3_small_numbers_are_not_lost_beside_large_ones() -> None:
    rows: list[dict[str, Any]] = [
        {"id": str(at), "a": value} for at, value in enumerate([1e308, 1, 5e-324, -1e308, 2**53, -1])
    ]
    (all_,) = answer(rows, {"sum": ["a"]})
    assert all_["sum"] == {"a": 2**53}
    (without,) = answer(rows[2:4], {"sum": ["a"]})
    assert without["sum"] == {"a": -1e308}


def test_g3_integers_stay_exact_to_64_bits_and_are_the_nearest_fraction_beyond() -> None:
    rows: list[dict[str, Any]] = [{"id": "1", "a": 2**62}, {"id": "2", "a": 2**62 - 1}]
    assert answer(rows, {"sum": "a"})[0]["sum"] == {"a": 2**63 - 1}
    assert answer([*rows, {"id": "3", "a": 1}], {"sum": "a"})[0]["sum"] == {"a": 2.0**63}


@pytest.mark.parametrize(
    ("one", "other", "average"),
    [(2**53, 5e-324, 2.0**52), (2**54 + 2, 5e-324, 2.0**53 + 2), (1e308, 1.7e308, 1.35e308)],
)
def test_g3_an_average_is_rounded_once(one: float, other: float, average: float) -> None:
    (all_,) = answer([{"id": "1", "a": one}, {"id": "2", "a": other}], {"avg": "a"})
    assert repr(all_["avg"]["a"]) == repr(average)


def test_g3_g4_what_is_no_number_is_skipped_and_nothing_has_no_average() -> None:
    rows: list[dict[str, Any]] = [{"id": "1", "a": "7"}, {"id": "2", "a": True}, {"id": "3"}, {"id": "4", "a": [1]}]
    (all_,) = answer(rows, {"sum": "a", "avg": "a", "min": "a", "max": "a"})
    assert all_ == {
        "id": "[]",
        "group": {},
        "count": 4,
        "sum": {"a": 0},
        "avg": {"a": None},
        "min": {"a": "7"},
        "max": {"a": "7"},
    }


def test_g2_equal_values_are_one_group_whatever_their_spelling() -> None:
    values: list[Any] = [1, 1.0, True, None, "2024-01-01", "2024-01-01T00:00:00Z", [1], {}, "1"]
    rows: list[dict[str, Any]] = [{"id": str(at), "a": value} for at, value in enumerate(values)]
    groups = answer([*rows, {"id": "none"}], {"groupBy": "a"})
    assert [(group["group"]["a"], group["count"]) for group in groups] == [
        (None, 2),
        (True, 1),
        (1, 2),
        ("1", 1),
        ("2024-01-01T00:00:00.000000Z", 2),
        ([], 2),
    ]
    assert len({group["id"] for group in groups}) == len(groups)


def test_g5_more_groups_than_allowed_are_refused() -> None:
    rows = [{"id": str(number), "a": number} for number in range(MAX_GROUPS + 1)]
    assert len(answer(rows[:-1], {"groupBy": "a"})) == MAX_GROUPS
    with pytest.raises(InvalidRequest, match="groupBy: more than 1,000 groups"):
        answer(rows, {"groupBy": "a"})


def test_a_share_says_what_a_row_adds() -> None:
    share = sharer(Aggregation(group_by=(("g",),), sum=A, min=A))
    assert share({"id": "1", "g": 1.0, "a": 1.5}) == ((1,), (Decimal("1.5"),), (1.5,), ())
