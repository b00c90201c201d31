"""Queries that ask the same are known as the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collab.query.canonical import canonical
from collab.query.match import select
from collab.query.parse import parse_query
from collab.query.query import And, Compare, Condition, Not, Or, Query
from tests.collab.query.rows import queries, row_lists


def of(where: dict[str, Any], **others: Any) -> bytes:
    return canonical(parse_query({"where": where, **others}))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"a": 1, "b": 2}, {"AND": [{"b": 2}, {"AND": [{"a": 1.0}]}, {"b": 2}]}),
        ({"OR": [{"a": 1}, {"b": 2}]}, {"OR": [{"b": 2}, {"OR": [{"a": 1}, {"b": 2}]}]}),
        ({"a": {"in": [1, 2, "x"]}}, {"a": {"in": ["x", 2.0, 1, 1]}}),
        ({"a": {"in": [1]}}, {"a": 1}),
        ({"a": {"isNull": True}}, {"a": None}),
        ({"a": {"not": {"not": 1}}}, {"a": 1}),
        ({"a": {"not": 1}}, {"NOT": {"a": 1}}),
        ({"p": {"q": 1}}, {"p.q": 1}),
        ({"at": "2024-01-01"}, {"at": "2024-01-01T01:00:00+01:00"}),
        ({"a": 0}, {"a": -0.0}),
    ],
)
def test_what_asks_the_same_in_other_words_is_the_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert of(one) == of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1}, {"a": True}),
        ({"a": 1}, {"a": "1"}),
        ({"a": None}, {"a": "null"}),
        ({"a": {"in": [1, 0]}}, {"a": {"in": [True, 0]}}),
        ({"a": 2**53}, {"a": 2**53 + 1}),
        ({"a.b": 1}, {"a\\.b": 1}),
        ({"a": {"lt": 1}}, {"a": {"lte": 1}}),
        ({"OR": [{"a": 1}, {"b": 2}]}, {"AND": [{"a": 1}, {"b": 2}]}),
        ({"AND": []}, {"OR": []}),
        ({"a": {"in": []}}, {"a": {"in": [None]}}),
        ({"a": {"contains": "2024-01-01"}}, {"a": {"contains": "2024-01-01T00:00:00Z"}}),
        ({"NOT": {"a": 1, "b": 2}}, {"NOT": [{"a": 1}, {"b": 2}]}),
    ],
)
def test_what_asks_something_else_is_not(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert of(one) != of(other)


def test_order_window_and_place_belong_to_a_query() -> None:
    windows: list[dict[str, Any]] = [
        {},
        {"limit": 1},
        {"limit": 2},
        {"offset": 1},
        {"orderBy": {"a": "asc"}},
        {"orderBy": {"a": "desc"}},
        {"orderBy": [{"a": "asc"}, {"b": "asc"}]},
        {"orderBy": [{"b": "asc"}, {"a": "asc"}]},
        {"after": "WyJ4IixbXV0"},
        {"after": "WyJ5IixbXV0"},
    ]
    assert len({of({}, **window) for window in windows}) == len(windows)


def shuffled(condition: Condition, draw: Any) -> Condition:
    """The same in other words."""
    match condition:
        case And(parts) | Or(parts):
            inner = [shuffled(part, draw) for part in draw(st.permutations(parts))]
            if inner and draw(st.booleans()):
                inner.append(draw(st.sampled_from(inner)))
            if len(inner) > 1 and draw(st.booleans()):
                inner = [type(condition)(tuple(inner[:2])), *inner[2:]]
            condition = type(condition)(tuple(inner))
        case Not(part):
            condition = Not(shuffled(part, draw))
        case Compare(path, operator, tuple(found)):
            condition = Compare(path, operator, tuple(draw(st.permutations(found))) + found[:1])
        case _:
            pass
    match draw(st.integers(0, 5)):
        case 0:
            return Not(Not(condition))
        case 1:
            return And((condition,))
        case 2:
            return Or((condition,))
    return condition


@settings(max_examples=200, deadline=None)
@given(queries, st.data())
def test_no_permutation_makes_another_query(raw: dict[str, Any], data: st.DataObject) -> None:
    query = parse_query(raw)
    other = replace(query, where=shuffled(query.where, data.draw))
    assert canonical(other) == canonical(query)


@settings(max_examples=200, deadline=None)
@given(queries, queries, row_lists())
def test_queries_known_as_the_same_select_the_same(
    one: dict[str, Any], other: dict[str, Any], rows: list[dict[str, Any]]
) -> None:
    left, right = parse_query(one), parse_query(other)
    if canonical(left) == canonical(right):
        assert select(rows, left) == select(rows, right)
    assert canonical(left) == canonical(right) or left != right


@settings(max_examples=100, deadline=None)
@given(queries, st.data())
def test_a_query_with_another_value_is_another_query(raw: dict[str, Any], data: st.DataObject) -> None:
    query = parse_query(raw)
    more = Compare(("only here",), "eq", data.draw(st.integers()))
    assert canonical(replace(query, where=And((query.where, more)))) != canonical(query)
    assert canonical(replace(query, where=Not(query.where))) != canonical(Query(query.where, query.order_by))
