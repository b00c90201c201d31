import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.access.identity import Access, Identity, Rule, glob_matches, parse_rules
from collab.names import RoomKey

DOCUMENT = RoomKey("acme", "documents", "plan")


def identity(rules: dict[str, str]) -> Identity:
    return Identity("acme", "ada", rules=parse_rules(rules))


def test_without_a_rule_the_answer_is_no() -> None:
    assert identity({}).access_to(DOCUMENT) is Access.NONE
    assert identity({"tasks/*": "write"}).access_to(DOCUMENT) is Access.NONE


def test_the_first_rule_that_matches_decides() -> None:
    guarded = {"documents/secret-*": "none", "documents/plan": "read", "documents/*": "write"}
    assert identity(guarded).access_to(DOCUMENT) is Access.READ
    assert identity(guarded).access_to(RoomKey("acme", "documents", "secret-1")) is Access.NONE
    assert identity(guarded).access_to(RoomKey("acme", "documents", "other")) is Access.WRITE
    assert identity(dict(reversed(guarded.items()))).access_to(DOCUMENT) is Access.WRITE


def test_case_53_no_rule_reaches_into_another_project() -> None:
    assert identity({"*/*": "write"}).access_to(RoomKey("other", "documents", "plan")) is Access.NONE


def test_a_star_does_not_cross_the_slash() -> None:
    assert identity({"d*s/pl*": "read"}).access_to(DOCUMENT) is Access.READ
    assert identity({"d*/an": "read"}).access_to(DOCUMENT) is Access.NONE


@pytest.mark.parametrize(
    "pattern", ["", "*", "documents", "a/b/c", "/a", "a/", "a b/*", "é/*", "documents/[ab]", "a" * 200 + "/b"]
)
def test_a_pattern_that_could_match_nothing_is_an_error(pattern: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        Rule(pattern, Access.READ)


@pytest.mark.parametrize("word", ["", "READ", "Write", "admin", "2", "rw"])
def test_a_right_is_one_of_three_words(word: str) -> None:
    with pytest.raises(ValueError, match="none, read, write"):
        parse_rules({"documents/*": word})


PIECES = st.lists(st.sampled_from(["a", "b", "ab", "*", "."]), max_size=8).map("".join)


@given(PIECES, PIECES.map(lambda text: text.replace("*", "")))
def test_globs_match_what_the_regular_expression_would(pattern: str, text: str) -> None:
    expected = re.fullmatch(".*".join(re.escape(piece) for piece in pattern.split("*")), text) is not None
    assert glob_matches(pattern, text) == expected


def test_a_pattern_full_of_stars_costs_no_more_than_its_length() -> None:
    # a matcher that backtracks would still be at it tomorrow
    assert not glob_matches("*a" * 60 + "b", "a" * 127)
