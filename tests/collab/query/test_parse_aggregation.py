"""What an application may ask of an aggregate, and how refusals say what is wrong."""

from __future__ import annotations

import re
from typing import Any

import pytest

from collab.errors import InvalidRequest
from collab.query.aggregate import Aggregation
from collab.query.canonical import canonical, canonical_aggregation
from collab.query.parse_aggregation import parse_aggregation
from collab.query.query import Compare, Query, Search
from collab.query.search import parse_words


def test_g1_all_members_are_optional_and_a_name_stands_for_a_list_of_one() -> None:
    assert parse_aggregation({}) == Aggregation()
    assert parse_aggregation({"where": None, "search": None, "groupBy": None, "sum": None}) == Aggregation()
    assert parse_aggregation({"search": "blue"}) == Aggregation(search=Search(parse_words("blue")))
    raw = {"where": {"a": 1}, "groupBy": "profile.city", "sum": ["b", "a\\.b"], "min": ["a"]}
    assert parse_aggregation(raw) == Aggregation(
        Compare(("a",), "eq", 1), (("profile", "city"),), sum=(("a.b",), ("b",)), min=(("a",),)
    )


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ([], "aggregate: must be an object, not a list"),
        ({"groupby": "a"}, "aggregate: has no member 'groupby', only where, search, groupBy"),
        ({"where": {"a": {"gt": None}}}, "where.a.gt: must be a number or a string"),
        ({"search": 1}, "search: must be a string, not a number"),
        ({"search": "x" * 501}, "search: has more than 500 characters"),
        ({"sum": 1}, "sum: must be the name of a member or a list of them, not a number"),
        ({"sum": [1]}, "sum[0]: member names must be strings"),
        ({"max": ["a", "a"]}, "max[1]: 'a' appears twice"),
        ({"groupBy": list("abcdef")}, "groupBy: has at most 5 members"),
        ({"avg": [str(number) for number in range(21)]}, "avg: has at most 20 members"),
        ({"min": ".".join("a" * 11)}, "min[0]: has more than 10 names"),
        ({"groupBy": "__proto__"}, "groupBy[0]: an answer cannot have a member __proto__"),
        ({"sum": "a\0"}, "sum[0]: a name must not contain U+0000"),
    ],
)
def test_g1_anything_else_is_refused_with_its_place(raw: Any, said: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{re.escape(said)}"):
        parse_aggregation(raw)


def test_g6_equal_aggregates_have_one_canonical_form_and_others_another() -> None:
    one: dict[str, Any] = {"where": {"AND": [{"a": 1}, {"b": 2}]}, "groupBy": ["a", "b"], "sum": ["a", "b"]}
    other: dict[str, Any] = {"where": {"b": 2.0, "a": 1}, "groupBy": ["a", "b"], "sum": ["b", "a"]}
    assert canonical_aggregation(parse_aggregation(one)) == canonical_aggregation(parse_aggregation(other))
    differing: list[dict[str, Any]] = [
        {},
        {"sum": "a"},
        {"avg": "a"},
        {"min": "a"},
        {"max": "a"},
        {"groupBy": "a"},
        {"where": {"a": 1}},
    ]
    forms = {canonical_aggregation(parse_aggregation(raw)) for raw in differing}
    assert len(forms) == len(differing)
    assert canonical(Query()) not in forms
