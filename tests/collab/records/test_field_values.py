"""Values that an application may write into the fields of an entity."""

from __future__ import annotations

from typing import Any

import pytest

from collab.errors import ValidationFailed
from collab.records.field_values import check_fields

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
