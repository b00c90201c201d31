"""Hypothesis strategies for rows and queries, with few distinct values, so that they match often."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from collab.query.match import lookup

NAMES = [
    "a",
    "b",
    "a.b",
    'q"q',
    "it's",
    "",
    "é",
    "back\\slash",
    "in",
    "AND",
    "x y",
    "new\nline",
    "$",
    "[0]",
    "__proto__",
]
MOMENTS = [
    "2024-01-01",
    "2024-01-01T00:00:00Z",
    "2024-01-01T01:00:00+01:00",
    "2024-01-01t00:00:00.000z",
    "2024-01-01T00:00:00.0001Z",
    "2023-12-31T23:59:59.999Z",
    "2024-02-30T00:00:00.000Z",
    "0999-01-01T00:00:00.000Z",
]
TEXTS = [
    "",
    "1",
    "true",
    "null",
    "a",
    "A",
    "ab",
    "ba",
    "é",
    "e\u0301",
    "😀",
    "\uffff",
    "%",
    "_",
    "\1",
    "a\1",
    '{"a":1}',
]
NULS = ["\0", "a\0", "a\0b", "\0\1"]
NUMBERS: list[int | float] = [
    0,
    1,
    -1,
    1.5,
    -0.0,
    1.0,
    0.1 + 0.2,
    2**53,
    2**53 + 1,
    2.0**53,
    1e308,
    -1e308,
    5e-324,
    1e22,
]
BIG = [2**63 - 1, -(2**63), 2**63, -(2**63) - 1, 2**64, 2**70, -(2**70), 2.0**63, -(2.0**63)]

SCALARS: list[Any] = [None, False, True, *NUMBERS, *BIG, *TEXTS, *NULS, *MOMENTS]
VALUES: list[Any] = [
    *SCALARS,
    10**400,
    -(10**400),
    [],
    {},
    {"b": 1},
    [None, 1, True, "a", "2024-01-01", "a\0"],
    [["a"], True],
    [1.5, False],
]

_names = st.sampled_from(NAMES) | st.sampled_from(NAMES[:2])
_texts = st.sampled_from(TEXTS + NULS + MOMENTS) | st.text(max_size=3)
_floats = st.floats(allow_nan=False, allow_infinity=False)
_numbers = st.sampled_from(NUMBERS + BIG) | st.integers(-3, 3) | _floats | st.integers()
_scalars: st.SearchStrategy[Any] = st.sampled_from(SCALARS) | st.none() | st.booleans() | _numbers | _texts


@st.composite
def drawn(draw: st.DrawFn, kind: str) -> Any:
    """Draw one value. Inlined strategies would make the descriptions very long."""
    return draw({"name": _names, "text": _texts, "number": _numbers, "scalar": _scalars}[kind])


names, texts, numbers, scalars = drawn("name"), drawn("text"), drawn("number"), drawn("scalar")
values = st.recursive(
    scalars | st.sampled_from([10**400, -(10**400)]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=4,
)
ids = st.sampled_from(
    ["1", "2", "10", "B", "a", "b1:t1", "2024-01-01", "2024-01-01T00:00:00Z", "2024-01-01T00:00:00.000Z"]
)


@st.composite
def row_lists(draw: st.DrawFn, size: int = 8) -> list[dict[str, Any]]:
    """Unordered rows with distinct ids."""
    fields = st.fixed_dictionaries({}, optional={"a": values, "b": scalars, 'q"q': values}) | st.dictionaries(
        names, values, max_size=4
    )
    rows = []
    for name in draw(st.lists(ids, unique=True, max_size=size)):
        at = draw(st.sampled_from(["2024-01-01T00:00:00.000Z", "2024-01-01T00:00:00.001Z"]))
        rows.append({"id": name, **draw(fields), "createdAt": at, "updatedAt": at})
    return rows


def spelled(path: tuple[str, ...]) -> str:
    """A path in a query's notation."""
    text = ".".join(name.replace("\\", "\\\\").replace(".", "\\.") for name in path)
    return "\\" + text if text in ("AND", "OR", "NOT", "in", "not") else text


paths = (
    st.lists(names, min_size=1, max_size=3).map(tuple)
    | st.sampled_from(NAMES[:2]).map(lambda name: (name,))
    | st.sampled_from([("a",), ("b",), ('q"q',), ("a", "b"), ("id",), ("createdAt",)])
)
ends = numbers | texts
operators: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.fixed_dictionaries({}, optional=dict.fromkeys(("lt", "lte", "gt", "gte"), ends)).filter(bool),
    st.fixed_dictionaries({"in": st.lists(scalars, max_size=4)}),
    st.fixed_dictionaries({"notIn": st.lists(scalars, max_size=4)}),
    st.fixed_dictionaries({"not": scalars}),
    st.fixed_dictionaries({"contains": scalars}),
    st.fixed_dictionaries({"startsWith": texts}),
    st.fixed_dictionaries({"endsWith": texts}),
    st.fixed_dictionaries({"isNull": st.booleans()}),
)
conditions = scalars | operators | operators | operators.map(lambda inner: {"not": inner})
members = st.dictionaries(paths.map(spelled), conditions, min_size=1, max_size=2)
wheres: st.SearchStrategy[Mapping[str, Any]] = st.recursive(
    members,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"AND": st.lists(inner, max_size=3)}),
        st.fixed_dictionaries({"OR": st.lists(inner, max_size=3)}),
        st.fixed_dictionaries({"NOT": inner | st.lists(inner, max_size=2)}),
        st.tuples(members, inner).map(lambda two: {**two[0], "AND": two[1]}),
    ),
    max_leaves=5,
)
orders = st.lists(st.tuples(paths, st.sampled_from(["asc", "desc"])), max_size=3).map(
    lambda keys: [
        {spelled(path): way}
        for at, (path, way) in enumerate(keys)
        if not any(_beside(path, other) for other, _ in keys[:at])
    ]
)
queries = st.fixed_dictionaries(
    {"where": wheres | st.just({})},
    optional={
        "orderBy": orders,
        "limit": st.integers(1, 6),
        "offset": st.integers(0, 4),
    },
)


INDEXES = [
    *((path,) for path in (("a",), ("b",), ("a", "b"), ("a.b",), ("",), ("it's",), ("createdAt",))),
    (("a",), ("b",)),
    (("b",), ("a",), ("createdAt",)),
    (("createdAt",), ("a",)),
    (("a",), ("createdAt",), ("b",), ("é",), ("a", "b")),
    (("b",), ("id",), ("a",)),
]
"""Indexes over one and over several members."""


@st.composite
def pages(draw: st.DrawFn) -> tuple[list[dict[str, Any]], dict[str, Any], dict[str, Any] | None]:
    """Rows, a query for those that equal one of them, in the order of other members, and the row before a page."""
    pool = draw(st.lists(values, min_size=1, max_size=3))
    rows = [
        {**row, **draw(st.fixed_dictionaries({}, optional={name: st.sampled_from(pool) for name in NAMES[:2]}))}
        for row in draw(row_lists().filter(bool))
    ]
    like = draw(st.sampled_from(rows))
    members = draw(st.permutations(["a", "b", "createdAt", "id"]))
    equal = draw(st.integers(0, 2))
    alike = {name: lookup(like, (name,)) for name in members[:equal]}
    where: dict[str, Any] = {
        name: draw(st.sampled_from([value, {"in": [value, None, "a"]}]))
        for name, value in alike.items()
        if not isinstance(value, list | dict)
    }
    if draw(st.booleans()):
        where[members[equal]] = draw(operators)
    ways = st.sampled_from(["asc", "desc"])
    order_by = [{name: draw(ways)} for name in members[equal : equal + draw(st.integers(0, 2))]]
    raw = {"where": where, "orderBy": order_by, "limit": draw(st.integers(1, 6))}
    return rows, raw, draw(st.none() | st.sampled_from(rows))


def _beside(path: tuple[str, ...], other: tuple[str, ...]) -> bool:
    size = min(len(path), len(other))
    return path[:size] == other[:size]
