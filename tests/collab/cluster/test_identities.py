import json
import zlib
from dataclasses import fields
from typing import Any, Literal, get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.access.identity import Identity
from collab.access.rules import Access, Rule, parse_rules
from collab.cluster.identities import MOST_BYTES, decode_identity, encode_identity
from collab.names import RoomKey
from collab.query.match import form_of
from collab.query.query import And, Compare, Condition, Not, Or

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
    | st.just("2026-05-01T10:00:00Z")
)
PATHS = st.lists(TEXTS.filter(bool), min_size=1, max_size=3).map(tuple)

PARTS: list[Literal["contains", "startsWith", "endsWith"]] = ["contains", "startsWith", "endsWith"]
ORDERS: list[Literal["eq", "lt", "lte", "gt", "gte"]] = ["eq", "lt", "lte", "gt", "gte"]


@st.composite
def comparisons(draw: st.DrawFn) -> Compare:
    path = draw(PATHS | st.just(("id",)))
    formed = form_of(path)
    several = tuple(formed(value) for value in draw(st.lists(SCALARS, max_size=4)))
    return draw(
        st.just(Compare(path, "in", several))
        | st.builds(Compare, st.just(path), st.sampled_from(PARTS), TEXTS)
        | st.builds(Compare, st.just(path), st.sampled_from(ORDERS), SCALARS.map(formed))
    )


CONDITIONS: st.SearchStrategy[Condition] = st.recursive(
    comparisons(),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda parts: And(tuple(parts)))
        | st.lists(inner, max_size=3).map(lambda parts: Or(tuple(parts)))
        | inner.map(Not)
    ),
    max_leaves=8,
)
RULES = st.builds(
    Rule,
    st.sampled_from(["*/*", "documents/plan", "tasks/*:t1", "tasks/b1:*", "d*s/*a*"]),
    st.sampled_from(Access),
    st.none() | CONDITIONS,
)
IDENTITIES = st.builds(
    Identity,
    st.sampled_from(["acme", "default"]),
    st.none() | TEXTS,
    st.none() | TEXTS,
    st.lists(RULES, max_size=5).map(tuple),
    st.none() | st.floats(0, 1e12),
    st.booleans(),
    st.lists(TEXTS, max_size=3).map(tuple),
    st.none() | TEXTS,
    st.none() | TEXTS,
    st.none() | st.floats(0, 1e12),
    st.booleans(),
    st.dictionaries(TEXTS, SCALARS | st.lists(SCALARS, max_size=2), max_size=3),
)
ROWS = st.dictionaries(TEXTS, SCALARS, max_size=4).map(lambda fields: {"id": "t1", **fields})


@given(IDENTITIES, ROWS)
def test_an_identity_survives_the_way_to_another_node(identity: Identity, row: dict[str, Any]) -> None:
    arrived = decode_identity(encode_identity(identity))
    # repr(), too: 1 == 1.0 == True, but they are different conditions
    assert (arrived, repr(arrived)) == (identity, repr(identity))
    assert json.dumps(arrived.claims, sort_keys=True) == json.dumps(identity.claims, sort_keys=True)
    assert arrived.has_conditions == identity.has_conditions
    key = RoomKey("acme", "tasks", "b1:t1")
    assert arrived.access_to(key) is identity.access_to(key)
    assert arrived.access_to_row(key, row) is identity.access_to_row(key, row)
    assert repr(arrived.filter_of("tasks")) == repr(identity.filter_of("tasks"))


def test_each_member_of_a_rule_and_each_operator_is_known() -> None:
    assert {field.name for field in fields(Rule) if field.init} == {"pattern", "access", "where"}
    assert {*PARTS, *ORDERS, "in"} == {*get_args(get_type_hints(Compare)["operator"])}


def test_rules_of_a_token_with_placeholders_survive() -> None:
    written = {
        "tasks/*": {"access": "write", "where": {"owner": "$userId", "team": {"in": "$claims.teams"}}},
        "*/*": "read",
    }
    identity = Identity("acme", "ada", rules=parse_rules(written, "ada", {"teams": ["red", "blue"]}))
    assert decode_identity(encode_identity(identity)) == identity


def test_many_similar_rules_become_few_bytes() -> None:
    rules = parse_rules({f"tasks/b{number}:*": {"access": "write", "where": {"owner": "ada"}} for number in range(256)})
    assert len(encode_identity(Identity("acme", "ada", rules=rules))) < 2500


def packed(value: Any) -> bytes:
    return zlib.compress(json.dumps(value).encode())


def test_what_an_older_server_may_ignore_is_ignored() -> None:
    ann = Identity("acme", "ann")
    later = json.loads(zlib.decompress(encode_identity(ann)))
    assert decode_identity(packed({**later, "nickname": "a", "ignorable": ["nickname"]})) == ann


def test_what_a_later_version_adds_costs_nothing_while_nobody_has_it() -> None:
    assert set(json.loads(zlib.decompress(encode_identity(Identity("acme"))))) == {"project", "rules"}


MEMBERS = json.loads(zlib.decompress(encode_identity(Identity("acme", "ada", rules=parse_rules({"*/*": "read"})))))


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"junk",
        packed(7),
        packed({}),
        packed(MEMBERS)[:-1],
        packed({**MEMBERS, "only_on_mondays": True}),
        packed({name: value for name, value in MEMBERS.items() if name != "project"}),
        packed({**MEMBERS, "only_on_mondays": True, "ignorable": ["nickname"]}),
        packed({**MEMBERS, "rules": [{"pattern": "*/*", "access": "OWN", "where": None}]}),
        packed({**MEMBERS, "rules": [{"pattern": "*/*", "access": "READ", "where": ["like", ["a"], "b"]}]}),
        packed({**MEMBERS, "rules": [{"pattern": "*/*", "access": "READ", "where": None, "until": 7}]}),
        packed({**MEMBERS, "rules": 7}),
        packed({**MEMBERS, "rules": [7]}),
        packed("x" * (MOST_BYTES + 1)),
        zlib.compress(b"[" * 200_000),
    ],
    ids=lambda encoded: repr(encoded[:12]),
)
def test_anything_else_is_refused_also_what_a_later_version_may_mean(encoded: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_identity(encoded)
