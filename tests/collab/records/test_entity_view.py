"""The part of an event that a filter and a selection show, and two events merged into one."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.access.identity import Identity
from collab.access.rules import Access, Rule
from collab.event import EntityEvent, EventType, FieldConflict
from collab.query.match import compile_where
from collab.query.parse import parse_where
from collab.query.query import EVERYTHING
from collab.records.entity_view import EntityView, conflate, data_before
from tests.collab.realtime.session_world import identity

MINE = parse_where({"owner": "ada"})


def event(type_: EventType = "updated", changes: dict[str, Any] | None = None, /, **data: Any) -> EntityEvent:
    return EntityEvent(
        position=1,
        type=type_,
        collection="tasks",
        id="t",
        version=1,
        data={"id": "t", **data, "createdAt": "c", "updatedAt": "u"},
        changes=changes or {},
        user_id="bob",
        at="now",
    )


def conflict(field: str) -> FieldConflict:
    return FieldConflict(field, None, 1, 2, "yours", "bob", None)


@pytest.mark.parametrize("kind", ["created", "updated", "deleted", "restored"])
def test_without_filter_and_selection_the_event_itself_is_seen(kind: EventType) -> None:
    whole = event(kind)
    assert EntityView(EVERYTHING).see(whole) is whole


@pytest.mark.parametrize(
    ("type_", "before", "after", "seen"),
    [
        ("created", None, "ada", "created"),
        ("created", None, "bob", None),
        ("updated", "ada", "ada", "updated"),
        ("updated", "ada", "bob", "deleted"),
        ("updated", "bob", "ada", "created"),
        ("updated", "bob", "bob", None),
        ("deleted", "ada", "ada", "deleted"),
        ("deleted", "bob", "bob", None),
        ("restored", "ada", "ada", "restored"),
        ("restored", "bob", "bob", None),
    ],
)
def test_what_enters_is_created_and_what_leaves_is_deleted(
    type_: EventType, before: str | None, after: str, seen: str | None
) -> None:
    changes = {"owner": {"from": before, "to": after}} if before != after else {}
    told = EntityView(MINE).see(event(type_, changes, owner=after, secret=1))
    assert (told and told.type) == seen
    if told is not None and type_ == "updated" and seen == "deleted":
        assert (told.data, told.changes, told.user_id, told.conflicts) == ({"id": "t"}, {}, None, ())


def test_a_field_that_was_not_there_before_counts_as_absent() -> None:
    view = EntityView(parse_where({"owner": None}))
    told = view.see(event("updated", {"owner": {"to": "ada"}}, owner="ada"))
    assert told is not None
    assert told.type == "deleted"


def test_the_state_before_is_known_from_the_changes() -> None:
    changes = {"a": {"from": 1, "to": 2}, "b": {"to": 3}, "c": {"from": 4}, "text": {"delta": []}}
    before = data_before(event("updated", changes, a=2, b=3))
    assert before == {"id": "t", "a": 1, "c": 4, "createdAt": "c", "updatedAt": "u"}


@pytest.mark.parametrize(
    ("fields", "arrives"),
    [
        (("title",), True),
        (("status",), False),
        (("status", "updatedAt"), False),
        (("updatedAt",), True),
        (("text", "status"), True),
        (("fought", "status"), True),
    ],
)
def test_a_selected_field_must_have_changed_or_been_fought_over(fields: tuple[str, ...], arrives: bool) -> None:
    changed = msgspec.structs.replace(
        event("updated", {"title": {"to": "a"}, "text": {"delta": []}}, title="a", status="new"),
        conflicts=(conflict("fought"), conflict("other")),
    )
    told = EntityView(EVERYTHING, fields).see(changed)
    assert (told is not None) == arrives
    if told is not None:
        assert told.data.keys() <= {"id", *fields}
        assert told.changes.keys() <= set(fields)
        assert all(one.field in fields for one in told.conflicts)


@pytest.mark.parametrize("kind", ["created", "deleted", "restored"])
def test_that_an_entity_comes_or_goes_arrives_whatever_is_selected(kind: EventType) -> None:
    told = EntityView(EVERYTHING, ("status",)).see(event(kind, title="a"))
    assert told is not None
    assert told.data == {"id": "t"}


def test_views_are_the_same_only_if_they_see_the_same() -> None:
    one, true = parse_where({"a": 1}), parse_where({"a": True})
    assert EntityView(one).key != EntityView(true).key
    assert EntityView(one, ("a", "b")).key == EntityView(one, ("b", "a")).key
    assert EntityView(one, identity=identity()).key != EntityView(one).key


@pytest.mark.parametrize(
    ("older", "newer", "one"),
    [
        ("created", "updated", "created"),
        ("restored", "updated", "restored"),
        ("updated", "updated", "updated"),
        ("updated", "deleted", "deleted"),
        ("created", "deleted", "deleted"),
        ("deleted", "restored", "restored"),
    ],
)
def test_two_events_are_of_the_kind_that_they_come_to(older: EventType, newer: EventType, one: EventType) -> None:
    assert conflate(event(older), event(newer)).type == one


def test_two_events_tell_all_conflicts_and_count_as_two() -> None:
    older = msgspec.structs.replace(event(), conflicts=(conflict("a"),), conflated=3)
    newer = msgspec.structs.replace(event(), conflicts=(conflict("b"),), conflated=2)
    merged = conflate(older, newer)
    assert [one.field for one in merged.conflicts] == ["a", "b"]
    assert merged.conflated == 5


def test_content_that_changed_twice_is_told_by_place() -> None:
    def of(change: dict[str, Any]) -> EntityEvent:
        return event("updated", {"text": change})

    delta, here, there = of({"delta": [1]}), of({"paths": [["a"]]}), of({"paths": [["b"], ["a"]]})
    assert conflate(delta, delta).changes == {"text": {"paths": [[]]}}
    assert conflate(here, there).changes == {"text": {"paths": [["a"], ["b"]]}}
    assert conflate(here, delta).changes == {"text": {"paths": [[]]}}
    assert conflate(here, event()).changes == here.changes


def test_what_left_the_view_does_not_tell_what_it_was_before() -> None:
    left = EntityView(MINE).see(event("updated", {"owner": {"from": "ada", "to": "bob"}}, owner="bob"))
    assert left is not None
    merged = conflate(event("updated", {"a": {"to": 1}}, a=1, owner="ada"), left)
    assert (merged.data, merged.changes, merged.conflicts) == ({"id": "t"}, {}, ())


values = st.dictionaries(st.sampled_from("abc"), st.integers(0, 2), max_size=3)


@given(st.lists(values, min_size=2, max_size=6), st.booleans())
def test_merged_changes_lead_from_the_first_state_to_the_last(states: list[dict[str, int]], filtered: bool) -> None:
    events = []
    for before, after in pairwise(states):
        changes: dict[str, dict[str, Any]] = {}
        for name in before.keys() | after.keys():
            if before.get(name) != after.get(name):
                changes[name] = {"from": before[name]} if name in before else {}
                changes[name] |= {"to": after[name]} if name in after else {}
        events.append(event("updated", changes, **after))
    merged = events[0]
    for newer in events[1:]:
        merged = conflate(merged, newer)
    was = data_before(merged)
    assert {name: was[name] for name in was if name in "abc"} == states[0]
    assert {name: merged.data[name] for name in merged.data if name in "abc"} == states[-1]
    where = parse_where({"a": 1})
    matches = compile_where(where)
    told = EntityView(where).see(merged)
    if filtered and told is not None and told.type != "deleted":
        assert matches(told.data)


@pytest.mark.parametrize(
    ("before", "after", "seen"), [("ada", "ada", "restored"), ("bob", "ada", "created"), ("ada", "bob", None)]
)
def test_what_is_restored_into_view_is_created_there(before: str, after: str, seen: str | None) -> None:
    changes = {"owner": {"from": before, "to": after}, "secret": {"from": "old", "to": "new"}}
    told = EntityView(MINE).see(event("restored", changes, owner=after, secret="new"))
    assert (told and told.type) == seen
    if seen == "created":
        assert told is not None
        assert told.changes == {"owner": {"to": "ada"}, "secret": {"to": "new"}}


def test_conflicts_tell_nothing_of_rows_that_may_not_have_been_in_view() -> None:
    changes = {"n": {"from": 2, "to": 3}}
    met = [
        FieldConflict("n", "hidden", 2, 3, "yours", "bob", "then"),
        FieldConflict("n", "hidden", "in between", 3, "yours", "bob", "then"),
        FieldConflict("owner", "hidden", "ada", "eve", "theirs", "bob", "then"),
    ]
    whole = msgspec.structs.replace(event("updated", changes, owner="ada", n=3), conflicts=tuple(met))
    told = EntityView(MINE).see(whole)
    assert told is not None
    assert [(conflict.base, conflict.theirs) for conflict in told.conflicts] == [(None, 2), (None, None), (None, "ada")]
    for everything in EVERYTHING, parse_where({"id": {"startsWith": "t"}}):
        assert EntityView(everything).see(whole) is whole


def test_permissions_after_an_event_are_those_of_the_row_then_and_only_if_requested() -> None:
    own = Rule("tasks/*", Access.WRITE, where=MINE)
    ada = Identity("p", "ada", rules=(own, Rule("tasks/*", Access.READ)))
    view = EntityView(EVERYTHING, identity=ada)
    assert view.permissions("p", event(owner="ada")) == {"read": True, "write": True}
    assert view.permissions("p", event(owner="bob")) == {"read": True, "write": False}
    assert EntityView(EVERYTHING).permissions("p", event(owner="ada")) is None


@pytest.mark.parametrize(
    ("where", "base"),
    [
        ({"NOT": {"id": "u"}}, "a"),
        ({"OR": [{"id": "t"}, {"NOT": {"id": "u"}}]}, "a"),
        ({"NOT": {"owner": "ada"}}, None),
        ({"OR": [{"id": "t"}, {"NOT": {"owner": "ada"}}]}, None),
    ],
)
def test_a_conflict_keeps_its_base_only_if_the_row_was_always_visible(where: dict[str, Any], base: str | None) -> None:
    met = FieldConflict("title", "a", "b", "c", "yours", "bob", None)
    updated = msgspec.structs.replace(event(owner="bob", title="c"), conflicts=(met,))
    seen = EntityView(parse_where(where)).see(updated)
    assert seen is not None
    assert [conflict.base for conflict in seen.conflicts] == [base]
