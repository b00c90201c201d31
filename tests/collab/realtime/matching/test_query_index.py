"""The index finds every query that an event may matter to, and few others."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from collab.query.match import compile_where
from collab.query.query import EVERYTHING, And, Compare, Condition, Not, Or, Scalar
from collab.realtime.matching.query_index import QueryIndex

PATHS = st.sampled_from([("id",), ("a",), ("b",), ("p", "c"), ("p", "d")])
SCALARS: st.SearchStrategy[Scalar] = st.sampled_from(
    [None, True, False, 0, 1, 2, 1.0, "1", "x", "", "2024-01-31T12:00:00.000000Z"]
)
COMPARES: st.SearchStrategy[Condition] = st.one_of(
    st.builds(Compare, PATHS, st.just("eq"), SCALARS),
    st.builds(Compare, PATHS, st.just("in"), st.lists(SCALARS, max_size=3).map(tuple)),
    st.builds(Compare, PATHS, st.just("gte"), st.sampled_from([1, "x"])),
)
CONDITIONS: st.SearchStrategy[Condition] = st.recursive(
    COMPARES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: And(tuple(parts))),
        st.lists(inner, max_size=3).map(lambda parts: Or(tuple(parts))),
        inner.map(Not),
    ),
    max_leaves=5,
)
VALUES = st.one_of(SCALARS, st.just([1]), st.just({"e": 1}), st.just("2024-01-31T13:00:00+01:00"))
NESTED = st.dictionaries(st.sampled_from("cd"), VALUES)
ROWS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"id": st.sampled_from(["x", "1"])}, optional={"a": VALUES, "b": VALUES, "p": st.one_of(NESTED, VALUES)}
)


@given(st.lists(CONDITIONS, max_size=8), st.lists(ROWS, min_size=1, max_size=8), st.data())
def test_l10_whoever_matches_or_holds_a_row_is_found_and_nothing_is_left_in_the_end(
    conditions: list[Condition], rows: list[dict[str, Any]], data: st.DataObject
) -> None:
    index: QueryIndex[int] = QueryIndex()
    held: dict[int, set[str]] = {}
    for number, condition in enumerate(conditions):
        index.add(number, condition)
        held[number] = data.draw(st.sets(st.sampled_from(["x", "1", "other"])))
        for name in held[number]:
            index.hold(number, name)
    for gone in data.draw(st.sets(st.sampled_from(range(len(conditions))))) if conditions else ():
        index.remove(gone, held.pop(gone))
    for row in rows:
        found = index.candidates(row["id"], row)
        assert found >= {number for number in held if compile_where(conditions[number])(row)}
        assert found >= {number for number in held if row["id"] in held[number]}
        assert found <= held.keys()
        assert index.candidates(row["id"], None) == {number for number in held if row["id"] in held[number]}
    assert len(index) == len(held)
    for number, names in held.items():
        index.remove(number, names)
    assert index.entries == 0


def _eq(member: str, value: Scalar) -> Compare:
    return Compare((member,), "eq", value)


def test_l10_queries_are_listed_under_the_term_that_tells_them_apart() -> None:
    index: QueryIndex[int] = QueryIndex()
    for number in range(100):
        index.add(number, And((_eq("status", "pending"), _eq("read", value=False), _eq("user", f"u{number}"))))
    found = index.candidates("t", {"id": "t", "status": "pending", "read": False, "user": "u7"})
    assert 7 in found
    assert len(found) <= 3
    assert len(index.candidates("t", {"id": "t", "status": "pending", "read": False, "user": "nobody"})) <= 2


def test_l10_each_value_of_an_in_finds_the_query_and_no_other_value_does() -> None:
    index: QueryIndex[str] = QueryIndex()
    index.add("q", Compare(("status",), "in", ("a", 1)))
    assert index.candidates("t", {"id": "t", "status": "a"}) == {"q"}
    assert index.candidates("t", {"id": "t", "status": 1}) == {"q"}
    assert index.candidates("t", {"id": "t", "status": True}) == set()
    assert index.candidates("t", {"id": "t"}) == set()


def test_l10_queries_without_an_equality_term_are_always_asked() -> None:
    index: QueryIndex[str] = QueryIndex()
    index.add("all", EVERYTHING)
    index.add("missing", _eq("gone", None))
    index.add("one", _eq("gone", "no"))
    assert index.candidates("t", {"id": "t"}) == {"all", "missing"}


def test_a_query_that_nothing_can_match_is_never_found() -> None:
    index: QueryIndex[str] = QueryIndex()
    index.add("never", Compare(("a",), "in", ()))
    assert index.candidates("t", {"id": "t", "a": 1}) == set()
    index.remove("never")
    assert index.entries == 0
