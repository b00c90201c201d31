"""Queries that applications may write, how they are read, and which are refused: rules Q of docs/protocol.md."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collab.errors import InvalidRequest
from collab.query.cursor import page_after
from collab.query.parse import parse_query, parse_where
from collab.query.query import EVERYTHING, NOTHING, And, Compare, Condition, Not, Or, Order, Query


def eq(name: str, value: Any) -> Compare:
    return Compare((name,), "eq", value)


def refused(raw: Any) -> str:
    with pytest.raises(InvalidRequest) as refusal:
        parse_query(raw)
    msgspec.json.encode(refusal.value.message)
    assert len(refusal.value.message) < 2000
    return refusal.value.message


def test_q1_the_query_of_the_documentation() -> None:
    raw = {
        "where": {
            "AND": [
                {"status": {"in": ["pending", "processing"]}},
                {"createdAt": {"gte": "2024-01-01T00:00:00.000Z"}},
                {"total": {"gte": 100}},
            ]
        },
        "orderBy": {"createdAt": "desc"},
        "limit": 10,
    }
    assert parse_query(raw) == Query(
        And(
            (
                Compare(("status",), "in", ("pending", "processing")),
                Compare(("createdAt",), "gte", "2024-01-01T00:00:00.000000Z"),
                Compare(("total",), "gte", 100),
            )
        ),
        (Order(("createdAt",), descending=True),),
        10,
    )


@pytest.mark.parametrize("raw", [{}, {"where": {}}, {"where": None, "orderBy": None, "limit": None, "after": None}])
def test_q1_all_members_are_optional(raw: dict[str, Any]) -> None:
    assert parse_query(raw) == Query()


@pytest.mark.parametrize(
    ("where", "meaning"),
    [
        ({}, EVERYTHING),
        ({"a": 1}, eq("a", 1)),
        ({"a": 1, "b": 2}, And((eq("a", 1), eq("b", 2)))),
        ({"AND": [{"a": 1}, {"b": 2}]}, And((eq("a", 1), eq("b", 2)))),
        ({"AND": {"a": 1}}, eq("a", 1)),
        ({"OR": [{"a": 1}, {"b": 2}]}, Or((eq("a", 1), eq("b", 2)))),
        ({"NOT": {"a": 1, "b": 2}}, Not(And((eq("a", 1), eq("b", 2))))),
        ({"NOT": [{"a": 1}, {"b": 2}]}, And((Not(eq("a", 1)), Not(eq("b", 2))))),
        ({"AND": []}, EVERYTHING),
        ({"OR": []}, NOTHING),
        ({"NOT": []}, EVERYTHING),
        ({"NOT": {}}, Not(EVERYTHING)),
        ({"a": 1, "OR": [{"b": 2}, {"c": 3}]}, And((eq("a", 1), Or((eq("b", 2), eq("c", 3)))))),
    ],
)
def test_q2_members_are_all_meant_and_and_or_not_combine(where: dict[str, Any], meaning: Condition) -> None:
    assert parse_where(where) == meaning


@pytest.mark.parametrize(
    ("where", "path"),
    [
        ({"profile": {"city": 1}}, ("profile", "city")),
        ({"profile.city": 1}, ("profile", "city")),
        ({"a": {"b.c": {"d": 1}}}, ("a", "b", "c", "d")),
        ({"a": {"AND": [{"b": 1}]}}, ("a", "b")),
        ({"a\\.b": 1}, ("a.b",)),
        ({"a\\\\": 1}, ("a\\",)),
        ({"\\AND": 1}, ("AND",)),
        ({"in": 1}, ("in",)),
        ({"range.in": 1}, ("range", "in")),
        ({"range": {"\\in": 1}}, ("range", "in")),
        ({"": 1}, ("",)),
        ({"a.": 1}, ("a", "")),
        ({"__proto__": 1}, ("__proto__",)),
        ({"\\and": 1}, ("and",)),
        ({"\\$in": 1}, ("$in",)),
        ({"eq": 1}, ("eq",)),
        ({"$": 1}, ("$",)),
        ({"a.eq": 1}, ("a", "eq")),
        ({"a.and": 1}, ("a", "and")),
        ({"a": {"\\eq": 1}}, ("a", "eq")),
        ({"a.$gt": 1}, ("a", "$gt")),
        ({"price": {"min": 1}}, ("price", "min")),
        ({"profile": {"content": 1}}, ("profile", "content")),
    ],
)
def test_q3_names_of_members(where: dict[str, Any], path: tuple[str, ...]) -> None:
    assert parse_where(where) == Compare(path, "eq", 1)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("eq", "the value itself"),
        ("equals", "the value itself"),
        ("$eq", "the value itself"),
        ("_eq", "the value itself"),
        ("==", "the value itself"),
        ("is", "the value itself"),
        ("ne", "not"),
        ("$ne", "not"),
        ("<>", "not"),
        ("NOT_EQUAL", "not"),
        ("$gt", "gt"),
        ("GT", "gt"),
        (">", "gt"),
        ("greaterThan", "gt"),
        ("ge", "gte"),
        ("<=", "lte"),
        ("$in", "in"),
        ("nin", "notIn"),
        ("not_in", "notIn"),
        ("notin", "notIn"),
        ("startswith", "startsWith"),
        ("starts_with", "startsWith"),
        ("startWith", "startsWith"),
        ("strartsWith", "startsWith"),
        ("startsWtih", "startsWith"),
        ("endsWit", "endsWith"),
        ("contians", "contains"),
        ("contain", "contains"),
        ("has", "contains"),
        ("like", "contains"),
        ("$regex", "contains"),
        ("isnull", "isNull"),
        ("exists", "isNull"),
        ("between", "gte and lte"),
        ("and", "AND"),
        ("$or", "OR"),
    ],
)
def test_q3_what_looks_like_an_operator_and_is_none_is_refused_inside_a_member(name: str, meant: str) -> None:
    message = refused({"where": {"status": {name: "open"}}})
    assert message.startswith(f"where.status.{name}: is not an operator; did you mean {meant}?")
    assert parse_where({f"status.{name}": "open"}) == Compare(("status", name), "eq", "open")
    assert f"'status.{name}'" in message
    for where in ({"status": {"not": {name: 1}}}, {"OR": [{"status": {name: 1}}]}, {"a": {"status": {name: 1}}}):
        assert "is not an operator" in refused({"where": where})
    assert "beside one" in refused({"where": {"status": {"gt": 1, name: 1}}})


@pytest.mark.parametrize("name", ["and", "Or", "not", "nor", "$and", "$or", "$nor", "$not", "$where", "$expr", "_and"])
def test_q3_what_looks_like_logic_and_is_none_is_refused_everywhere(name: str) -> None:
    for value in ([{"a": 1}], {"a": 1}, 1):
        assert f"where.{name}: is not an operator" in refused({"where": {name: value}})
        assert "is not an operator" in refused({"where": {"AND": [{name: value}]}})
    assert parse_where({"\\" + name: 1}) == Compare((name,), "eq", 1)


def test_q1_a_misspelt_member_of_a_query_is_refused_with_the_nearest() -> None:
    for name, meant in (("limt", "limit"), ("Where", "where"), ("order_by", "orderBy"), ("skip", None)):
        message = refused({name: 1})
        assert message.endswith(f"did you mean {meant}?" if meant else "after")


A = ("a",)


@pytest.mark.parametrize(
    ("operators", "meaning"),
    [
        ({"in": [1, None, "x"]}, Compare(A, "in", (1, None, "x"))),
        ({"in": []}, Compare(A, "in", ())),
        ({"notIn": [True]}, Not(Compare(A, "in", (True,)))),
        ({"not": 1}, Not(eq("a", 1))),
        ({"not": None}, Not(eq("a", None))),
        ({"not": {"gte": 1, "lt": 3}}, Not(And((Compare(A, "gte", 1), Compare(A, "lt", 3))))),
        ({"not": {"not": {"in": [1]}}}, Not(Not(Compare(A, "in", (1,))))),
        ({"not": {"b": 1}}, Not(Compare(("a", "b"), "eq", 1))),
        ({"lte": "x", "gt": 1.5}, And((Compare(A, "lte", "x"), Compare(A, "gt", 1.5)))),
        ({"contains": None}, Compare(A, "contains", None)),
        ({"startsWith": "x"}, Compare(A, "startsWith", "x")),
        ({"endsWith": ""}, Compare(A, "endsWith", "")),
        ({"isNull": True}, eq("a", None)),
        ({"isNull": False}, Not(eq("a", None))),
    ],
)
def test_q4_operators(operators: dict[str, Any], meaning: Condition) -> None:
    assert parse_where({"a": operators}) == meaning


def test_q6_points_in_time_have_one_form_unless_their_text_is_meant() -> None:
    noon = "2024-01-01T12:00:00.000000Z"
    for written in ("2024-01-01T12:00:00Z", "2024-01-01t13:00:00.000+01:00", datetime(2024, 1, 1, 12, tzinfo=UTC)):
        assert parse_where({"a": written}) == eq("a", noon)
        assert parse_where({"a": {"in": [written]}}) == Compare(A, "in", (noon,))
        assert parse_where({"a": {"lt": written}}) == Compare(A, "lt", noon)
    for operator in ("contains", "startsWith", "endsWith"):
        assert parse_where({"a": {operator: "2024-01-01"}}) == Compare(A, operator, "2024-01-01")


def test_q6_a_point_in_time_of_python_needs_a_zone_and_a_year() -> None:
    assert "time zone" in refused({"where": {"a": datetime(2024, 1, 1)}})
    assert "out of range" in refused({"where": {"a": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=3)))}})


def test_q11_orders() -> None:
    two = (Order(("a",)), Order(("b", "c"), descending=True))
    assert parse_query({"orderBy": [{"a": "asc"}, {"b.c": "desc"}]}).order_by == two
    assert parse_query({"orderBy": {"a": "asc", "b": {"c": "desc"}}}).order_by == two
    assert parse_query({"orderBy": []}).order_by == ()
    assert parse_query({"orderBy": {}}).order_by == ()


@pytest.mark.parametrize("value", [1, True, 1.5, [], {"b": 1}, None, "up"])
def test_q11_the_cursor_of_a_page_is_read_back(value: Any) -> None:
    orders = [{"a": "desc"}, {"b": "asc"}]
    text = page_after({"id": "x", "a": value}, (Order(("a",)), Order(("b",))))
    place = () if isinstance(value, list | dict) else value
    assert parse_query({"orderBy": orders, "after": text}).after == ("x", (place, None))
    assert refused({"after": text}) == "after: this cursor belongs to a different orderBy"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ([], "query: must be an object, not a list"),
        ({"sort": 1}, "query: has no member 'sort', only where, search, orderBy, limit, offset, after"),
        ({1: 1}, "query: has no member '1', only where, search, orderBy, limit, offset, after"),
        ({"where": []}, "where: must be an object, not a list"),
        ({"where": "a = 1"}, "where: must be an object, not a string"),
        (
            {"where": {"AND": [{"a": 1}, {"total": {"gte": None}}]}},
            "where.AND[1].total.gte: must be a number or a string",
        ),
        ({"where": {"AND": [1]}}, "where.AND[0]: must be an object, not a number"),
        ({"where": {"OR": {"a": 1}}}, "where.OR: must be a list of objects, not an object"),
        ({"where": {"NOT": 1}}, "where.NOT: must be an object, not a number"),
        ({"where": {"a": [1]}}, "where.a: must be a string, number, boolean, datetime or null, not a list"),
        ({"where": {"a": {}}}, "where.a: must not be an empty object"),
        ({"where": {"a": {"b": {}}}}, "where.a.b: must not be an empty object"),
        ({"where": {"a": {"not": {}}}}, "where.a.not: must not be an empty object"),
        ({"where": {"a": {"lt": 1, "b": 2}}}, "where.a: 'b' is not an operator, and stands beside one"),
        ({"where": {"a": {"lt": True}}}, "where.a.lt: must be a number or a string, not a boolean"),
        ({"where": {"a": {"lt": {}}}}, "where.a.lt: must be a string, number"),
        ({"where": {"a": {"in": "x"}}}, "where.a.in: must be a list, not a string"),
        ({"where": {"a": {"in": [1, [2]]}}}, "where.a.in[1]: must be a string, number"),
        ({"where": {"a": {"notIn": {}}}}, "where.a.notIn: must be a list, not an object"),
        ({"where": {"a": {"contains": {}}}}, "where.a.contains: must be a string, number"),
        ({"where": {"a": {"startsWith": 1}}}, "where.a.startsWith: must be a string, not a number"),
        ({"where": {"a": {"isNull": None}}}, "where.a.isNull: must be true or false, not null"),
        ({"where": {"a": {"isNull": 1}}}, "where.a.isNull: must be true or false, not a number"),
        ({"where": {"a": b"x"}}, "where.a: must be a string, number, boolean, datetime or null, not bytes"),
        ({"where": {1: 1}}, "where.1: member names must be strings, not a number"),
        ({"where": {"a": {1: 1, "lt": 1}}}, "where.a: '1' is not an operator"),
        ({"where": {"a\\": 1}}, "where.a\\: ends with a backslash"),
        ({"where": {"a\0": 1}}, "where.a\\u0000: a name must not contain U+0000"),
        ({"orderBy": "a"}, "orderBy: must be an object or a list of them, not a string"),
        ({"orderBy": {"a": 1}}, "orderBy.a: must be 'asc' or 'desc', not a number"),
        ({"orderBy": {"a": "DESC"}}, "orderBy.a: must be 'asc' or 'desc', not 'DESC'"),
        ({"orderBy": {"a": {}}}, "orderBy.a: must not be an empty object"),
        ({"orderBy": [{}]}, "orderBy[0]: must be an object like"),
        ({"orderBy": ["a"]}, "orderBy[0]: must be an object like"),
        ({"orderBy": [{"a": "asc"}, {"a": "desc"}]}, "orderBy.a: a member may appear once in orderBy"),
        ({"orderBy": {"a.b": "asc", "a": "desc"}}, "orderBy.a: a member may appear once in orderBy"),
        ({"limit": 0}, "limit: must be from 1 to 10,000"),
        ({"limit": 10_001}, "limit: must be from 1 to 10,000"),
        ({"limit": True}, "limit: must be an integer, not a boolean"),
        ({"limit": 1.0}, "limit: must be an integer, not a number"),
        ({"limit": "1"}, "limit: must be an integer, not a string"),
        ({"offset": -1}, "offset: must be from 0 to"),
        ({"offset": 10**30}, "offset: must be from 0 to"),
        ({"after": 5}, "after: must be a string (the next of a page), not a number"),
    ],
)
def test_q16_what_makes_no_sense_is_refused_by_its_place(raw: Any, message: str) -> None:
    assert refused(raw).startswith(message)


@pytest.mark.parametrize("text", ["", "x", "é", "*", "W10", "bnVsbA", "WyJ4Iiwx", "A" * 300_000, "WyJ4IixbMWU5OTldXQ"])
def test_q16_what_is_no_cursor_is_refused(text: str) -> None:
    assert refused({"orderBy": {"a": "asc"}, "after": text}) == "after: not a valid cursor"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400, -(10**400), "\ud800", "x\udfff"])
@pytest.mark.parametrize("operator", [None, "in", "notIn", "not", "lt", "gte", "contains"])
def test_q14_values_that_no_json_has_are_refused(value: Any, operator: str | None) -> None:
    operand = [1, value] if operator in ("in", "notIn") else value
    message = refused({"where": {"a": operand if operator is None else {operator: operand}}})
    assert "number" in message or "surrogate" in message


@pytest.mark.parametrize("place", ["where", "orderBy"])
def test_q14_names_that_are_not_unicode_are_refused(place: str) -> None:
    assert "surrogate" in refused({place: {"x\ud800": "asc"}})


# bounds


def nested(word: str, levels: int) -> dict[str, Any]:
    where: dict[str, Any] = {"a": 1}
    for level in range(levels):
        where = {word: where if word == "NOT" else [where, {"b": level}]}
        if word == "AND" and level % 2:
            where = {"OR": [where, {"c": level}]}
    return where


def test_q13_bounds_hold_to_the_number() -> None:
    hundred = [{"a": number} for number in range(100)]
    for word in ("AND", "OR", "NOT"):
        parse_where({word: hundred})
        assert "at most 100 conditions" in refused({"where": {word: [*hundred, {"b": 1}]}})
        assert refused({"where": {word: [{}] * 101}}) == f"where.{word}[100]: a query has at most 100 conditions"
    parse_where({"a": {"in": list(range(1000))}})
    assert refused({"where": {"a": {"in": list(range(1001))}}}) == "where.a.in: has more than 1000 values"
    parse_query({"orderBy": {f"m{number}": "asc" for number in range(8)}})
    assert "at most 8 members" in refused({"orderBy": {f"m{number}": "asc" for number in range(9)}})
    assert "at most 8 members" in refused({"orderBy": [{f"m{number}": "asc"} for number in range(9)]})
    assert "at most 8 members" in refused({"orderBy": {"x": {f"m{number}": "asc" for number in range(9)}}})
    parse_query({"limit": 10_000, "offset": 1_000_000})
    parse_where({"n" * 256: 1})
    assert "256 characters" in refused({"where": {"n" * 257: 1}})
    assert "too long" in refused({"where": {"n." * 100_000: 1}})


def test_q13_depth_is_bounded() -> None:
    parse_where(nested("NOT", 10))
    assert refused({"where": nested("NOT", 11)}) == "where: AND, OR and NOT are nested deeper than 10"
    assert "nested deeper" in refused({"where": nested("OR", 11)})
    parse_where({".".join("abcdefghij"): 1})
    assert "more than 10 names" in refused({"where": {".".join("abcdefghijk"): 1}})
    assert "more than 10 names" in refused({"orderBy": {".".join("abcdefghijk"): "asc"}})


@pytest.mark.parametrize("word", ["NOT", "AND", "OR", "a", "not"])
def test_q13_what_is_far_too_deep_is_refused_and_not_followed(word: str) -> None:
    where: Any = 1 if word in ("a", "not") else {"a": 1}
    for _ in range(100_000):
        where = {word: [where] if word == "OR" else where}
    if word == "not":
        where = {"a": where}
    message = refused({"where": where})
    assert "deeper than" in message or "more than 10 names" in message
    orders: Any = "asc"
    for _ in range(100_000):
        orders = {"a": orders}
    assert "more than 10 names" in refused({"orderBy": orders})


json_like = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None), max_size=4)
    | st.binary(max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["AND", "OR", "NOT", "a", "in", "not", "lt", "isNull", "contains", "asc", "a.b", "\\", "", "id"]
            )
            | st.integers()
            | st.text(st.characters(codec=None), max_size=3),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@settings(max_examples=400, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["where", "orderBy", "limit", "offset", "after"]), json_like, max_size=3)
    | json_like
)
@pytest.mark.slow
def test_q16_whatever_is_written_is_read_or_refused(raw: Any) -> None:
    try:
        query = parse_query(raw)
    except InvalidRequest as refusal:
        msgspec.json.encode(refusal.message)
    else:
        assert parse_query(msgspec.json.decode(msgspec.json.encode(raw))) == query
