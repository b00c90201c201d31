"""JSON Schemas are checked at a cost that is bounded by the size of the value, with the meaning of the library."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema.validators import Draft7Validator, Draft201909Validator, Draft202012Validator

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


PARTS: list[dict[str, Any]] = [
    {"items": {"type": "string"}},
    {"properties": {"a": {"$ref": "#/$defs/one"}}, "required": ["b"]},
    {"additionalProperties": {"$ref": "#"}},
    {"patternProperties": {"^a": {"type": "integer"}}, "unevaluatedProperties": False},
    {"prefixItems": [{"type": "string"}], "unevaluatedItems": {"type": "number"}},
    {"if": {"type": "array"}, "then": {"contains": {"const": 1}}, "else": {"anyOf": ALTERNATIVES}},
    {"allOf": [{"properties": {"a": True}}], "unevaluatedProperties": {"type": "null"}},
    {"oneOf": [{"items": {}, "maxItems": 1}, {"type": ["array", "string"]}], "unevaluatedItems": False},
    {"format": "date", "pattern": "^(?P<first>a)", "not": {"enum": [0, "a"]}},
    {"uniqueItems": True, "dependentSchemas": {"a": {"minProperties": 2}}, "multipleOf": 1},
]


@pytest.mark.parametrize("draft", [Draft7Validator, Draft201909Validator, Draft202012Validator])
@given(st.data())
def test_what_is_refused_and_where_is_as_the_library_says(draft: Any, data: st.DataObject) -> None:
    parts = data.draw(st.lists(st.sampled_from(PARTS), min_size=1, max_size=2, unique_by=str))
    schema = {"$schema": draft.META_SCHEMA["$schema"], "allOf": parts, "$defs": {"one": {"const": 1}}}
    value = data.draw(VALUES)

    def places(errors: Any) -> list[tuple[list[Any], str]]:
        return [([*error.absolute_path], error.validator) for error in errors]

    plain = draft(schema, format_checker=draft.FORMAT_CHECKER).iter_errors(value)
    assert places(compile_schema(schema).iter_errors(value)) == places(plain)


@pytest.mark.parametrize("draft", [Draft201909Validator, Draft202012Validator])
def test_what_no_part_of_a_schema_expects_is_found_in_one_pass(draft: Any) -> None:
    schema = {
        "$schema": draft.META_SCHEMA["$schema"],
        "properties": {"list": {"contains": {"type": "integer"}, "unevaluatedItems": {"type": "integer"}}},
        "patternProperties": {"^n": True},
        "unevaluatedProperties": False,
    }
    value: dict[str, Any] = {f"n{number}": number for number in range(100_000)}
    value["list"] = list(range(100_000))
    assert messages(schema, value) == []
    value["list"].append("a")
    assert messages(schema, value) == ["Unevaluated items are not allowed ('a' was unexpected)"]
    value["m"] = value["o"] = 1
    assert messages(schema, value)[1:] == ["Unevaluated properties are not allowed ('m', 'o' were unexpected)"]


def test_a_value_that_is_no_json_is_checked_by_what_the_schema_says_of_it() -> None:
    assert messages({"properties": {"a": {"type": "string"}}}, {"a": "\ud800"}) == []
    assert messages({"properties": {"a": {"type": "integer"}}}, {"a": "\ud800"})
