"""Values that an application may write into the fields of an entity."""

from __future__ import annotations

from typing import Any

import pytest

from collab.errors import ValidationFailed
from collab.records.field_values import MAX_FIELDS, check_fields

NOW = {"id": "t1", "profile": {"city": "Oslo"}, "a.b": 1, "createdAt": "2024-01-01T00:00:00.000000Z"}


@pytest.mark.parametrize("changes", [{"profile.city": "Tromsø"}, {"a.b": 2}, {".": 1}, {"a.b": True}])
def test_a_name_that_reads_like_a_path_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationFailed, match="whole field"):
        check_fields(changes, now=NOW)


def test_what_is_sent_back_unchanged_is_left_out_and_what_is_there_may_be_removed() -> None:
    assert check_fields({"a.b": 1, "id": "t1", "title": "x"}, now=NOW) == {"title": "x"}
    assert check_fields({}, ["a.b"], now=NOW) == {}
    with pytest.raises(ValidationFailed, match="whole field"):
        check_fields({}, ["profile.city"], now=NOW)


def test_inside_a_field_names_are_just_names() -> None:
    assert check_fields({"prices": {"eu.de": 1}}) == {"prices": {"eu.de": 1}}


@pytest.mark.parametrize("changes", [{"__proto__": 1}, {"a": {"__proto__": 1}}, {"a": [{"b": {"__proto__": 1}}]}])
def test_no_member_is_called_as_javascript_calls_a_prototype(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationFailed, match="__proto__"):
        check_fields(changes)
    assert check_fields({"constructor": 1, "prototype": 2}) == {"constructor": 1, "prototype": 2}


def test_only_so_many_fields_are_written_at_once() -> None:
    names = [f"f{n}" for n in range(MAX_FIELDS)]
    assert len(check_fields(dict.fromkeys(names, 1))) == MAX_FIELDS
    with pytest.raises(ValidationFailed, match="at once"):
        check_fields(dict.fromkeys(names, 1), ["one more"])


@pytest.mark.parametrize("name", ["createdAt", "title"])
def test_metadata_and_what_is_written_at_once_cannot_be_removed(name: str) -> None:
    with pytest.raises(ValidationFailed, match=f"{name}: cannot be removed"):
        check_fields({"title": "x"}, [name], now=NOW)


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ({1: "a"}, "a: has a member whose name is not a string"),
        ([{"x\ud800": 1}], r"a\[0\]: has a member whose name is not a string"),
        ("x\ud800", "a: contains a lone surrogate"),
        ([2**53], r"a\[0\]: exceeds JavaScript's safe integers"),
        (float("nan"), "a: is not a finite number"),
        (b"a", "a: is not a JSON value but a bytes"),
    ],
)
def test_the_place_and_the_fault_of_a_value_are_named(value: Any, fault: str) -> None:
    with pytest.raises(ValidationFailed, match=fault):
        check_fields({"a": value})
