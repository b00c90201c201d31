"""A rule means the same whether it is asked about one entity or made into a condition on rows."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.access.rules import Access, Rule, check_rules, glob_matches, parse_rules
from collab.names import RoomKey
from collab.query.match import compile_where
from collab.query.query import And, Compare

TASK = RoomKey("acme", "tasks", "t1")


def task(**fields: Any) -> dict[str, Any]:
    return {"id": "t1", **fields}


@pytest.mark.parametrize(
    "pattern", ["", "*", "documents", "a/b/c", "/a", "a/", "a b/*", "é/*", "documents/[ab]", "a" * 200 + "/b"]
)
def test_a_pattern_that_could_match_nothing_is_an_error(pattern: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        Rule(pattern, Access.READ)


@pytest.mark.parametrize("pattern", ["tasks/a*b*", "tasks/*a*b", "tasks/a*b*c", "tasks/*a*b*"])
def test_an_id_pattern_that_cannot_be_listed_by_is_an_error(pattern: str) -> None:
    with pytest.raises(ValueError, match="one at each end"):
        Rule(pattern, Access.READ)


@pytest.mark.parametrize("word", ["", "READ", "Write", "admin", "2", "rw", None, 2, ["read"]])
def test_a_right_is_one_of_three_words(word: object) -> None:
    with pytest.raises(ValueError, match="none, read, write"):
        parse_rules({"documents/*": word})
    with pytest.raises(ValueError, match="none, read, write"):
        parse_rules({"documents/*": {"access": word, "where": {}}})


def test_a_rule_with_a_condition_is_about_the_rows_for_which_it_holds() -> None:
    (rule,) = parse_rules({"tasks/*": {"access": "read", "where": {"status": "open"}}})
    assert rule.matches(TASK)
    assert rule.holds(task(status="open"))
    assert not rule.holds(task(status="done"))
    assert not rule.holds(task())


def test_user_id_stands_for_the_caller() -> None:
    (rule,) = parse_rules({"tasks/*": {"access": "read", "where": {"OR": [{"owner": "$userId"}]}}}, "ada")
    assert rule.holds(task(owner="ada"))
    assert not rule.holds(task(owner="$userId"))


def test_a_claim_stands_for_its_value() -> None:
    where = {"AND": [{"team": {"in": "$claims.teams"}}, {"level": {"lte": "$claims.level"}}]}
    (rule,) = parse_rules({"tasks/*": {"access": "read", "where": where}}, "ada", {"teams": ["a", "b"], "level": 3})
    assert rule.holds(task(team="b", level=3))
    assert not rule.holds(task(team="c", level=3))
    assert not rule.holds(task(team="a", level=4))


def test_a_doubled_dollar_stands_for_the_character() -> None:
    (rule,) = parse_rules({"tasks/*": {"access": "read", "where": {"price": "$$5"}}})
    assert rule.holds(task(price="$5"))


@pytest.mark.parametrize("value", ["$userid", "$claims", "$5", "$"])
def test_a_slip_in_what_a_text_stands_for_is_an_error(value: str) -> None:
    with pytest.raises(ValueError, match=r"\$\$ for a literal"):
        parse_rules({"tasks/*": {"access": "read", "where": {"owner": value}}}, "ada")


def test_what_is_not_there_can_stand_for_nothing() -> None:
    rules = {"tasks/*": {"access": "read", "where": {"owner": "$userId"}}}
    with pytest.raises(ValueError, match="no user"):
        parse_rules(rules)
    with pytest.raises(ValueError, match="claim"):
        parse_rules({"tasks/*": {"access": "read", "where": {"team": "$claims.team"}}}, "ada", {})


@pytest.mark.parametrize("claim", [{"not": "x"}, ["x"], [{"not": "x"}], float("nan"), "\ud800"])
def test_a_claim_never_becomes_an_operator_or_a_value_that_json_lacks(claim: object) -> None:
    with pytest.raises(ValueError, match=r"a value in a rule|claim"):
        parse_rules({"tasks/*": {"access": "read", "where": {"team": "$claims.team"}}}, "ada", {"team": claim})


@pytest.mark.parametrize("user", ["2024-01-01", "2024-01-01T01:00:00+01:00", "a\0b"])
def test_a_user_id_that_equals_another_one_in_queries_stands_for_no_row(user: str) -> None:
    with pytest.raises(ValueError, match="a date or contains"):
        parse_rules({"tasks/*": {"access": "read", "where": {"owner": "$userId"}}}, user)
    parse_rules({"tasks/*": "read"}, user)


def test_a_claim_that_is_null_stands_for_no_row() -> None:
    for where, claim in (({"team": "$claims.team"}, None), ({"team": {"in": "$claims.team"}}, ["x", None])):
        with pytest.raises(ValueError, match="claim that is null"):
            parse_rules({"tasks/*": {"access": "read", "where": where}}, "ada", {"team": claim})


@pytest.mark.parametrize(
    "where",
    [None, {}, {"AND": []}, {"AND": {}}, {"OR": [{"owner": "ada"}, {}]}, {"OR": []}, {"NOT": []}, {"NOT": {}}],
    ids=str,
)
def test_what_is_left_of_a_condition_without_its_value_grants_no_row(where: object) -> None:
    with pytest.raises(ValueError, match=r"must not be empty|must be an object"):
        parse_rules({"tasks/*": {"access": "write", "where": where}}, "ada")


def test_in_takes_a_claim_that_is_a_list_of_scalars() -> None:
    rules = {"tasks/*": {"access": "read", "where": {"team": {"in": "$claims.team"}}}}
    for claim in ("x", [["x"]], [{"not": "x"}], ["\ud800"]):
        with pytest.raises(ValueError, match=r"a value in a rule|claim"):
            parse_rules(rules, "ada", {"team": claim})
    assert parse_rules(rules, "ada", {"team": ["x"]})[0].holds(task(team="x"))


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"access": "none", "where": {"secret": {"eq": True}}}, "where.secret.eq: is not an operator"),
        ({"access": "none", "where": {"secret": {"$ne": False}}}, r"where.secret.\$ne: is not an operator"),
        ({"access": "none", "where": {"or": [{"secret": True}]}}, "where.or: is not an operator"),
        ({"access": "read", "where": {"owner": ["ada"]}}, "where"),
        ({"access": "read", "where": "owner"}, "where"),
        ({"access": "read", "whence": {}}, "only access and where"),
        ({"access": "read", "where": {"a": float("inf")}}, "finite"),
        ({"access": "read", "where": {"\ud800": 1}}, "surrogate"),
    ],
)
def test_a_condition_that_makes_no_sense_is_an_error(rule: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_rules({"tasks/*": rule}, "ada")


def test_a_condition_that_is_too_deep_is_an_error() -> None:
    where: dict[str, Any] = {"a": 1}
    for _ in range(5000):
        where = {"NOT": where}
    with pytest.raises(ValueError, match=r"where|deep"):
        parse_rules({"tasks/*": {"access": "read", "where": where}})


@pytest.mark.parametrize("name", ["eqauls", "is_not", "same", "city"])
def test_a_misspelt_operator_is_never_taken_for_a_member_inside_a_member(name: str) -> None:
    where = {"secret": {name: True}}
    with pytest.raises(ValueError, match=rf"{name}: is not an operator.*written 'secret\.{name}'"):
        parse_rules({"tasks/*": {"access": "none", "where": where}})
    parse_rules({"tasks/*": {"access": "none", "where": {f"secret.{name}": True}}})


def test_rules_can_be_checked_before_any_user_is_known() -> None:
    check_rules({"tasks/*": {"access": "read", "where": {"a": "$userId", "b": {"in": "$claims.b"}, "c": "$claims.c"}}})
    with pytest.raises(ValueError, match="where"):
        check_rules({"tasks/*": {"access": "read", "where": {"a": {"lt": True}}}})


PIECES = st.lists(st.sampled_from(["a", "b", "ab", "*", "."]), max_size=8).map("".join)


@given(PIECES, PIECES.map(lambda text: text.replace("*", "")))
def test_globs_match_what_the_regular_expression_would(pattern: str, text: str) -> None:
    expected = re.fullmatch(".*".join(re.escape(piece) for piece in pattern.split("*")), text) is not None
    assert glob_matches(pattern, text) == expected


def test_a_pattern_full_of_stars_costs_no_more_than_its_length() -> None:
    # a matcher that backtracks would still be at it tomorrow
    assert not glob_matches("*a" * 60 + "b", "a" * 127)


DATES = ["2024-01-01", "2024-01-01T00:00:00Z", "2024-01-01T00:00:00.000Z", "2024-01-01t00:00:00z"]
LETTERS = st.text("ab", min_size=1, max_size=5)
IDS = LETTERS | st.sampled_from(DATES)
GLOBS = st.one_of(
    IDS,
    st.just("*"),
    IDS.map(lambda text: f"{text}*"),
    IDS.map(lambda text: f"*{text}"),
    IDS.map(lambda text: f"*{text}*"),
    st.tuples(IDS, IDS).map("*".join),
)


@given(GLOBS, IDS)
def test_the_condition_on_rows_says_the_same_of_an_id_as_the_glob(glob: str, entity: str) -> None:
    rule = Rule(f"tasks/{glob}", Access.READ)
    assert compile_where(rule.rows())({"id": entity}) == rule.matches(RoomKey("acme", "tasks", entity))


def test_the_rows_of_a_rule_are_those_that_its_glob_and_its_condition_name() -> None:
    (rule,) = parse_rules({"tasks/a*": {"access": "read", "where": {"status": "open"}}})
    assert rule.rows() == And((Compare(("id",), "startsWith", "a"), Compare(("status",), "eq", "open")))
