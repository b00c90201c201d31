from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.access.identity import Identity
from collab.access.rules import Access, parse_rules
from collab.errors import PermissionDenied
from collab.names import RoomKey
from collab.query.match import compile_where
from collab.query.query import EVERYTHING, Compare

DOCUMENT = RoomKey("acme", "documents", "plan")


TASK = RoomKey("acme", "tasks", "t1")


def identity(rules: dict[str, Any]) -> Identity:
    return Identity("acme", "ada", rules=parse_rules(rules, "ada"))


def test_without_a_rule_the_answer_is_no() -> None:
    assert identity({}).access_to(DOCUMENT) is Access.NONE
    assert identity({"tasks/*": "write"}).access_to(DOCUMENT) is Access.NONE


def test_the_first_rule_that_matches_decides() -> None:
    guarded = {"documents/secret-*": "none", "documents/plan": "read", "documents/*": "write"}
    assert identity(guarded).access_to(DOCUMENT) is Access.READ
    assert identity(guarded).access_to(RoomKey("acme", "documents", "secret-1")) is Access.NONE
    assert identity(guarded).access_to(RoomKey("acme", "documents", "other")) is Access.WRITE
    assert identity(dict(reversed(guarded.items()))).access_to(DOCUMENT) is Access.WRITE


def test_n3_no_rule_reaches_into_another_project() -> None:
    assert identity({"*/*": "write"}).access_to(RoomKey("other", "documents", "plan")) is Access.NONE


def test_a_star_does_not_cross_the_slash() -> None:
    assert identity({"d*s/pl*": "read"}).access_to(DOCUMENT) is Access.READ
    assert identity({"d*/an": "read"}).access_to(DOCUMENT) is Access.NONE


# rules that ask for what is in the entity


OWN = {"access": "write", "where": {"owner": "$userId"}}


def access(rules: dict[str, Any], **fields: Any) -> Access:
    return identity(rules).access_to_row(TASK, {"id": TASK.id, **fields})


def test_a_rule_whose_condition_does_not_hold_leaves_the_answer_to_the_next() -> None:
    rules = {"tasks/*": OWN, "*/*": "read"}
    assert access(rules, owner="ada") is Access.WRITE
    assert access(rules, owner="bob") is Access.READ
    assert access({"tasks/*": OWN}, owner="bob") is Access.NONE
    assert access({"tasks/*": {"access": "none", "where": {"hidden": True}}, "*/*": "read"}, hidden=True) is Access.NONE


def test_a_row_of_another_project_is_never_visible() -> None:
    other = RoomKey("other", "tasks", "t1")
    assert identity({"*/*": "write"}).access_to_row(other, {"id": "t1"}) is Access.NONE


def test_without_the_row_the_answer_is_the_least_that_it_could_be() -> None:
    assert identity({"tasks/*": OWN}).access_to(TASK) is Access.NONE
    assert identity({"tasks/*": OWN, "*/*": "read"}).access_to(TASK) is Access.READ
    hidden = {"access": "none", "where": {"hidden": True}}
    assert identity({"tasks/*": hidden, "*/*": "write"}).access_to(TASK) is Access.NONE


def test_who_may_read_everything_is_not_filtered_and_who_may_read_nothing_sees_nothing() -> None:
    assert identity({"*/*": "read"}).filter_of("tasks") == EVERYTHING
    assert identity({"tasks/*": "none", "*/*": "read"}).filter_of("tasks") is None
    assert identity({"tasks/*": "none", "*/*": "read"}).filter_of("users") == EVERYTHING
    assert identity({}).filter_of("tasks") is None


def test_a_filter_holds_what_the_rules_say() -> None:
    assert identity({"tasks/*": OWN}).filter_of("tasks") == Compare(("owner",), "eq", "ada")


def test_single_ids_are_gathered() -> None:
    listed = identity({f"tasks/t{number}": "read" for number in range(200)}).filter_of("tasks")
    assert listed == Compare(("id",), "in", tuple(f"t{number}" for number in range(200)))


def test_rules_that_would_make_an_endless_filter_are_refused() -> None:
    rules = {f"tasks/a{number}*": ("read", "none")[number % 2] for number in range(256)}
    with pytest.raises(PermissionDenied, match="too many"):
        identity(rules).filter_of("tasks")


ROWS = st.fixed_dictionaries(
    {"id": st.text("ab", min_size=1, max_size=4)},
    optional={"owner": st.sampled_from(["ada", "bob", None]), "open": st.booleans()},
)
PATTERNS = st.sampled_from(
    ["*/*", "tasks/*", "tasks/a*", "tasks/*b", "tasks/a*a", "tasks/*b*", "tasks/a", "t*/ab", "x/*"]
)
WORDS = st.sampled_from(["none", "read", "write"])
WHERES = st.sampled_from([{"owner": "$userId"}, {"open": True}, {"owner": {"not": "$userId"}}, {"id": "ab"}])
RULES = st.dictionaries(PATTERNS, WORDS | st.builds(lambda a, w: {"access": a, "where": w}, WORDS, WHERES), max_size=6)


@given(RULES, ROWS)
def test_a_filter_shows_exactly_the_rows_that_may_be_read(rules: dict[str, Any], row: dict[str, Any]) -> None:
    caller = identity(rules)
    key = RoomKey("acme", "tasks", row["id"])
    condition = caller.filter_of("tasks")
    shown = condition is not None and compile_where(condition)(row)
    assert shown == (caller.access_to_row(key, row) >= Access.READ)
    assert caller.access_to(key) <= caller.access_to_row(key, row)
