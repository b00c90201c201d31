"""JSON Schemas are checked at a cost that is bounded by the size of the value, with the meaning of the library."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema.validators import Draft202012Validator

from collab.records.json_schema import compile_schema

SCALARS = st.none() | st.booleans() | st.sampled_from([0, 1, -1, 1.0, -0.0, 0.5, 2**53, 1e300, "", "1", "a"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
)
ALTERNATIVES: list[dict[str, Any]] = [
    {"type": "array", "items": {"type": "string"}},
    {"type": "array", "maxItems": 1},
    {"type": "number"},
    {"$ref": "#/$defs/one"},
]


def messages(schema: dict[str, Any], value: Any) -> list[str]:
    return [error.message for error in compile_schema(schema).iter_errors(value)]


@given(st.lists(VALUES, max_size=4))
def test_items_are_unique_as_the_library_says(items: list[Any]) -> None:
    schema = {"type": "array", "uniqueItems": True}
    assert messages(schema, items) == [error.message for error in Draft202012Validator(schema).iter_errors(items)]


@pytest.mark.parametrize(
    "item", [lambda n: {"n": n}, lambda n: n if n % 2 else str(n), lambda n: [{}, n]], ids=["objects", "mixed", "lists"]
)
def test_a_long_list_of_anything_is_compared_in_one_pass(item: Any) -> None:
    items = [item(number) for number in range(100_000)]
    assert messages({"uniqueItems": True}, items) == []
    assert messages({"uniqueItems": True}, [*items, items[0]])


@given(VALUES, st.sampled_from(["anyOf", "oneOf"]))
def test_alternatives_have_the_meaning_of_the_library(value: Any, keyword: str) -> None:
    schema = {keyword: ALTERNATIVES, "$defs": {"one": {"const": 1}}}
    expected = [error.message.partition(" under")[0] for error in Draft202012Validator(schema).iter_errors(value)]
    assert [message.partition(" under")[0] for message in messages(schema, value)] == expected


@pytest.mark.parametrize("keyword", ["anyOf", "oneOf"])
def test_the_errors_of_alternatives_are_not_collected(keyword: str) -> None:
    schema = {keyword: [{"items": {"type": "string"}}, {"type": "null"}]}
    (error,) = compile_schema(schema).iter_errors([1] * 1000)
    assert error.context == []
