"""The meaning of conditions and orders, on rows in memory. tests/collab/storage holds SQLite to the same."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collab.dates import canonical, iso_micros
from collab.query.match import (
    ID,
    behind,
    comparable,
    compile_where,
    conjoin,
    equalities,
    form,
    lookup,
    select,
    sort_key,
)
from collab.query.parse import parse_query, parse_where
from collab.query.query import EVERYTHING, And, Compare, Not, Or, Order, Query
from tests.collab.query.rows import MOMENTS, paths, queries, row_lists, texts, values, wheres


def matches(where: Mapping[str, Any], **fields: Any) -> bool:
    return compile_where(parse_where(where))({"id": "1", **fields})


VALUES = [None, False, True, 0, 1, 1.5, "", "1", "a", "true", [], [1], {}, {"b": 1}]


@pytest.mark.parametrize("wanted", [value for value in VALUES if not isinstance(value, list | dict)], ids=repr)
def test_q5_a_value_equals_only_what_is_of_its_type(wanted: Any) -> None:
    for value in VALUES:
        same = type(value) is type(wanted) and value == wanted
        assert matches({"a": wanted}, a=value) == same
        assert matches({"a": {"in": [wanted, "other"]}}, a=value) == same
        assert matches({"a": {"notIn": [wanted]}}, a=value) != same
        assert matches({"a": {"not": wanted}}, a=value) != same
        assert matches({"a": wanted, "AND": []}, a=value) == same
        assert matches({"a": wanted, "x": None}, a=value) == same


def test_q5_whole_numbers_and_fractions_are_one_type() -> None:
    for written in (2, 2.0):
        for held in (2, 2.0):
            assert matches({"a": written}, a=held)
            assert matches({"a": {"in": [written]}}, a=held)
            assert matches({"a": {"contains": written}}, a=[held])
    assert matches({"a": 0}, a=-0.0)
    assert not matches({"a": 2**53}, a=2**53 + 1)
    assert not matches({"a": 2.0**53}, a=2**53 + 1)


def test_q6_points_in_time_are_compared_as_such_in_whatever_spelling() -> None:
    same = ["2024-01-01", "2024-01-01T00:00:00Z", "2024-01-01T01:00:00+01:00", "2024-01-01t00:00:00.000000z"]
    for one in same:
        for other in same:
            assert matches({"a": one}, a=other)
            assert matches({"a": {"in": [one, 1]}}, a=other)
            assert matches({"a": {"gte": one, "lte": one}}, a=other)
            assert matches({"a": {"contains": one}}, a=[other])
            assert not matches({"a": {"gt": one}}, a=other)
    assert matches({"a": {"lt": "2024-01-01T00:00:00.001Z"}}, a="2024-01-01T01:00:00.000+01:00")
    assert not matches({"a": "2024-02-30"}, a="2024-02-30T00:00:00Z")


def test_q7_null_and_missing_are_the_same() -> None:
    rows: list[dict[str, Any]] = [{"a": None}, {}, {"a": math.nan}]
    for row in rows:
        where: dict[str, Any]
        for where in ({"a": None}, {"a": {"isNull": True}}, {"a": {"in": [None]}}, {"a": {"not": 1}}):
            assert matches(where, **row)
        for where in ({"a": {"isNull": False}}, {"a": {"not": None}}, {"a": {"gte": 0}}, {"a": {"lt": "x"}}):
            assert not matches(where, **row)
    for inner in (None, 1, "b", ["b"], {"c": 1}):
        assert matches({"a.b": None}, a=inner)
    assert matches({"a.b": 1}, a={"b": 1})


@pytest.mark.parametrize(("operator", "holds"), [("lt", "_"), ("lte", "_="), ("gt", "^"), ("gte", "=^")])
def test_q8_ranges_are_of_numbers_or_of_texts(operator: str, holds: str) -> None:
    for low, end, high in [(1, 1.5, 2), ("a", "b", "ba"), ("A", "a", "é"), ("\uffff", "😀", "😁")]:
        for value, sign in ((low, "_"), (end, "="), (high, "^")):
            assert matches({"a": {operator: end}}, a=value) == (sign in holds)
    for value in (None, True, "2", [2], {"b": 2}):
        assert not matches({"a": {operator: 1.5}}, a=value)
    for value in (None, True, 2, ["b"], {"b": 2}):
        assert not matches({"a": {operator: "b"}}, a=value)


def test_q9_parts_of_texts_are_of_the_text_as_it_is() -> None:
    assert matches({"a": {"contains": "b"}}, a="abc")
    assert matches({"a": {"contains": ""}}, a="")
    assert not matches({"a": {"contains": "B"}}, a="abc")
    assert matches({"a": {"startsWith": "ab", "endsWith": "bc"}}, a="abc")
    assert not matches({"a": {"startsWith": "b"}}, a="abc")
    assert not matches({"a": {"endsWith": "b"}}, a="abc")
    assert matches({"a": {"startsWith": "2024-01-01T01:"}}, a="2024-01-01T01:00:00+01:00")
    assert not matches({"a": {"endsWith": "Z"}}, a="2024-01-01T01:00:00+01:00")
    assert not matches({"a": {"contains": "%"}}, a="abc")
    for value in (None, True, 5, {"5": 5}):
        for operator in ("contains", "startsWith", "endsWith"):
            assert not matches({"a": {operator: ""}}, a=value)


def test_q9_an_array_contains_its_elements() -> None:
    held = [None, True, 1, "x", ["deep"], {"deep": 1}]
    for value in (None, True, 1, 1.0, "x"):
        assert matches({"a": {"contains": value}}, a=held)
    for value in (False, 0, 2, "", "deep", "X"):
        assert not matches({"a": {"contains": value}}, a=held)
    assert not matches({"a": {"startsWith": "x"}}, a=["x"])
    assert not matches({"a": {"contains": 5}}, a="5")


@settings(max_examples=200, deadline=None)
@given(wheres, row_lists())
def test_q10_a_negation_holds_for_exactly_the_other_rows(where: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    positive, negative = compile_where(parse_where(where)), compile_where(parse_where({"NOT": where}))
    for row in rows:
        assert positive(row) is not negative(row)
        assert isinstance(positive(row), bool)


def test_q11_the_order_of_values_of_all_types() -> None:
    rising: list[Any] = [
        None,
        False,
        True,
        -(10**400),
        -1,
        0,
        0.5,
        1,
        2**53,
        2**53 + 1,
        1e308,
        "",
        "1",
        "A",
        "a",
        "é",
        "\uffff",
        "😀",
        [],
    ]
    rows = [{"id": f"{index}", "a": value} for index, value in enumerate(rising)]
    up, down = (parse_query({"orderBy": {"a": way}}) for way in ("asc", "desc"))
    assert [row["a"] for row in select(rows[::-1], up)] == rising
    assert [row["a"] for row in select(rows, down)] == rising[::-1]


def test_q11_equal_rows_are_ordered_by_the_next_member_and_last_by_rising_id() -> None:
    rows: list[dict[str, Any]] = [
        {"id": "3", "a": {"x": 1}, "b": 1},
        {"id": "10", "a": [], "b": 2},
        {"id": "2", "a": [9]},
        {"id": "1", "a": {}, "b": None},
    ]
    query = parse_query({"orderBy": [{"a": "desc"}, {"b": "desc"}]})
    assert [row["id"] for row in select(rows, query)] == ["10", "3", "1", "2"]
    assert [row["id"] for row in select(rows, Query())] == ["1", "10", "2", "3"]


@settings(max_examples=200, deadline=None)
@given(row_lists(), queries)
@pytest.mark.slow
def test_q11_an_order_is_total(rows: list[dict[str, Any]], raw: dict[str, Any]) -> None:
    key = sort_key(parse_query(raw).order_by)
    ordered = sorted(rows, key=key)
    assert all(key(one) < key(other) and key(other) > key(one) for one, other in pairwise(ordered))
    backwards = rows[::-1]
    assert sorted(backwards, key=key) == ordered


@settings(max_examples=200, deadline=None)
@given(row_lists(), queries)
@pytest.mark.slow
def test_q12_behind_a_row_is_what_has_a_greater_key(rows: list[dict[str, Any]], raw: dict[str, Any]) -> None:
    orders = parse_query(raw).order_by
    key = sort_key(orders)
    for place in rows:
        at = tuple(() if isinstance(v, list | dict) else v for v in (lookup(place, order.path) for order in orders))
        test = compile_where(behind((place["id"], at), orders))
        assert [test(row) for row in rows] == [key(row) > key(place) for row in rows]


def test_q14_numbers_that_no_database_holds_are_the_nearest_that_it_does() -> None:
    assert matches({"a": 2**64}, a=2**64 + 1)
    assert matches({"a": {"lte": 2**64}}, a=2**64 + 1)
    assert matches({"a": {"gt": 1e308}}, a=10**400)
    assert matches({"a": {"lt": -1e308}}, a=-(10**400))
    assert form(10**400) == form(10**401)
    assert form(math.inf) is None


def test_q14_the_character_that_ends_texts_is_the_one_after_it() -> None:
    assert matches({"a": "x\0y"}, a="x\1y")
    assert matches({"a": "x\1y", "id": "1"}, a="x\0y")
    assert matches({"a": {"contains": "\1y"}}, a="x\0y")
    assert not matches({"a": "x"}, a="x\0y")


def test_q15_an_id_is_a_name_and_never_a_point_in_time() -> None:
    assert matches({"id": "2024-01-01"}, id="2024-01-01")
    for where in (
        "2024-01-01T00:00:00Z",
        {"in": ["2024-01-01T00:00:00.000000Z"]},
        {"contains": "T"},
        {"gt": "2024-01-01"},
    ):
        assert not matches({"id": where}, id="2024-01-01")
    assert lookup({"id": "2024-01-01"}, ID) == "2024-01-01"
    assert lookup({"a": "2024-01-01"}, ("a",)) == "2024-01-01T00:00:00.000000Z"


@settings(max_examples=300, deadline=None)
@given(texts | st.from_regex(r"[0-2]\d{3}-[01]\d-[0-3]\dT[0-2]\d:[0-6]\d:[0-6]\d\.(\d{3}|\d{6})Z", fullmatch=True))
def test_the_short_cut_for_points_in_time_is_the_same(text: str) -> None:
    assert form(text) == (canonical(text) or text.replace("\0", "\1"))
    if text.endswith("Z"):
        assert canonical(text) == canonical(f"{text[:-1]}z")  # which takes the long way


def test_times_of_our_own_are_compared_as_they_are() -> None:
    assert comparable(row := {"createdAt": iso_micros(1.5), "updatedAt": iso_micros(1e9)}) is row


@settings(max_examples=200, deadline=None)
@given(row_lists(), paths, st.lists(paths, min_size=1))
def test_comparable_rows_hold_what_lookup_gives(
    rows: list[dict[str, Any]], path: tuple[str, ...], others: list[tuple[str, ...]]
) -> None:
    for row in rows:
        same = comparable(row)
        assert comparable(same) is same
        for one in (path, *others):
            if one != ID:
                found, formed = lookup(row, one), lookup(same, one)
                assert type(found) is type(formed)
                assert comparable(found) == formed


@settings(max_examples=200, deadline=None)
@given(values)
def test_a_value_that_is_comparable_already_stays_the_same_object(value: Any) -> None:
    again = comparable(comparable(value))
    assert comparable(again) is again
    if isinstance(value, list) and not any(isinstance(item, str | int | float | list | dict) for item in value):
        assert comparable(value) is value


@settings(max_examples=300, deadline=None)
@given(wheres, row_lists())
@pytest.mark.slow
def test_rows_that_match_have_one_of_the_values_of_each_equality(
    where: dict[str, Any], rows: list[dict[str, Any]]
) -> None:
    condition = parse_where(where)
    test = compile_where(condition)
    for row in filter(test, rows):
        for path, wanted in equalities(condition).items():
            found = lookup(row, path)
            assert any(isinstance(found, bool) == isinstance(value, bool) and found == value for value in wanted)


def test_equalities_are_found_wherever_they_must_hold() -> None:
    def terms(where: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
        return {".".join(path): found for path, found in equalities(parse_where(where)).items()}

    assert terms({"a": 1, "b.c": {"in": ["x", None]}}) == {"a": (1,), "b.c": ("x", None)}
    assert terms({"a": {"in": [1, 2, True]}, "AND": [{"a": {"in": [2, 3, 1]}}]}) == {"a": (2, 1)}
    assert terms({"a": 1, "AND": [{"a": 2}]}) == {"a": ()}
    assert terms({"a": 1, "AND": [{"a": True}]}) == {"a": ()}
    assert terms({"OR": [{"a": 1, "b": 1}, {"a": {"in": [True, 1]}}]}) == {"a": (1, True)}
    assert terms({"OR": [{"a": 1}, {"b": 1}]}) == {}
    assert terms({"a": {"not": 1}, "b": {"gte": 1}, "c": {"contains": "x"}}) == {}
    assert terms({"NOT": {"NOT": {"a": 1}}}) in ({}, {"a": (1,)})
    assert terms({"createdAt": "2024-01-01"}) == {"createdAt": ("2024-01-01T00:00:00.000000Z",)}
    assert terms({"id": "2024-01-01"}) == {"id": ("2024-01-01",)}


def test_conditions_are_joined_as_flat_as_possible() -> None:
    one, two = Compare(("a",), "eq", 1), Compare(("b",), "eq", 2)
    assert conjoin() == EVERYTHING
    assert conjoin(EVERYTHING, one, EVERYTHING) == one
    assert conjoin(And((one, two)), Not(one)) == And((one, two, Not(one)))
    assert conjoin(Or((one, two)), EVERYTHING) == Or((one, two))


@pytest.mark.parametrize("moment", MOMENTS)
def test_orders_read_points_in_time(moment: str) -> None:
    rows = [{"id": "1", "a": moment}, {"id": "0", "a": canonical(moment) or moment}]
    assert [row["id"] for row in sorted(rows, key=sort_key((Order(("a",), descending=True),)))] == ["0", "1"]
