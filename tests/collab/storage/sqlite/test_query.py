"""Queries in SQLite mean the same as in memory, and use the indexes created for them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from collab.errors import InvalidRequest
from collab.query.cursor import page_after, place_of, write_after
from collab.query.match import ID, form, form_of, select
from collab.query.parse import parse_query
from collab.query.query import And, Compare, IndexPaths, Not, Or, Order, Query
from collab.storage.codec import keys_of, to_json
from collab.storage.sqlite.query import count_rows, create_indexes, find_rows
from collab.storage.sqlite.schema import prepare
from tests.collab.query.rows import INDEXES, SCALARS, VALUES, pages, queries, row_lists

PROJECT, TASKS = "acme", "tasks"
A: IndexPaths = (("a",),)


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    with closing(empty()) as connection:
        yield connection


def empty() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    prepare(connection)
    return connection


def put(
    connection: sqlite3.Connection,
    rows: Sequence[Mapping[str, Any]],
    *,
    project: str = PROJECT,
    collection: str = TASKS,
    deleted: bool = False,
) -> None:
    connection.executemany(
        "INSERT INTO entities (project, collection, id, version, deleted, data, keys, heads, content_seq, created_at,"
        " updated_at) VALUES (?, ?, ?, 1, ?, ?, ?, x'', 0, 0, 0)",
        [(project, collection, row["id"], deleted, to_json(row), keys_of(dict(row))) for row in rows],
    )


def found(connection: sqlite3.Connection, query: Query, collection: str = TASKS) -> list[str]:
    return [row.key.id for row in find_rows(connection, PROJECT, collection, query)]


def agree(connection: sqlite3.Connection, rows: Sequence[dict[str, Any]], query: Query) -> None:
    wanted = select(rows, query)
    assert found(connection, query) == [row["id"] for row in wanted]
    everything = Query(query.where, query.order_by, None, 0, query.after)
    assert count_rows(connection, PROJECT, TASKS, query) == len(select(rows, everything))


@settings(max_examples=400, deadline=None)
@given(row_lists(), st.lists(queries, min_size=1, max_size=4), st.data())
@example([{"id": "1", "a": True}, {"id": "2", "a": 1}], [{"where": {"a": 1}}, {"where": {"a": {"in": [True]}}}], None)
@example([{"id": "1", "a": '{"b":1}'}, {"id": "2", 'q"q': '{"b":1}'}], [{"where": {'q"q.b': 1}}], None)
@example([{"id": "5"}], [{"where": {"id": 5}}, {"where": {"id": {"not": {"gte": 4}}}}], None)
@example(
    [{"id": "1", "a": 10**400}, {"id": "2", "a": 2**64 + 1}],
    [{"where": {"a": 2**64}}, {"orderBy": {"a": "desc"}}],
    None,
)
@pytest.mark.slow
def test_q_the_law_rows_from_sqlite_are_the_rows_that_match_sorted_and_windowed(
    rows: list[dict[str, Any]], raws: list[dict[str, Any]], data: st.DataObject | None
) -> None:
    with closing(empty()) as connection:
        put(connection, rows)
        for raw in raws:
            query = parse_query(raw)
            agree(connection, rows, query)
            if data is not None and rows:
                place = data.draw(st.sampled_from(rows))
                agree(connection, rows, parse_query({**raw, "after": page_after(place, query.order_by)}))


@pytest.mark.parametrize("path", [("a",), ("a", "b"), ('q"q',), ('q"q', "b"), ("a", 'q"q'), ("back\\slash", 'q"q')])
@pytest.mark.parametrize("indexed", [False, True])
@pytest.mark.slow
def test_q_the_law_for_each_operator_between_each_two_values(
    database: sqlite3.Connection, path: tuple[str, ...], *, indexed: bool
) -> None:
    if indexed and path in (("a",), ("a", "b")):
        create_indexes(database, TASKS, [(path,), (path, ("c",)), (("c",), path)])
    rows: list[dict[str, Any]] = [{"id": "missing"}, {"id": "text", path[0]: '{"b":1}'}, {"id": "list", path[0]: ["b"]}]
    for index, value in enumerate(VALUES):
        for name in reversed(path):
            value = {name: value}
        rows.append({"id": f"{index}", **value})
    put(database, rows)
    for value in SCALARS:
        comparisons = [Compare(path, "eq", form(value)), Compare(path, "in", (form(value), "other", 7))]
        comparisons.append(Compare(path, "contains", value))
        if isinstance(value, str):
            comparisons += [Compare(path, "startsWith", value), Compare(path, "endsWith", value)]
        if value is not None and not isinstance(value, bool):
            comparisons += [Compare(path, "lt", form(value)), Compare(path, "lte", form(value))]
            comparisons += [Compare(path, "gt", form(value)), Compare(path, "gte", form(value))]
        for comparison in comparisons:
            agree(database, rows, Query(comparison))
            agree(database, rows, Query(Not(comparison)))
    agree(database, rows, Query(Compare(path, "in", tuple(map(form, SCALARS)))))
    for orders in ((Order(path),), (Order(path, descending=True),), (Order(path), Order(ID, descending=True))):
        agree(database, rows, Query(order_by=orders))
        for row in rows:
            agree(database, rows, Query(order_by=orders, after=place_of(row, orders)))


@pytest.mark.parametrize("operator", ["eq", "lt", "lte", "gt", "gte", "contains", "startsWith", "endsWith"])
def test_q15_the_law_for_ids(database: sqlite3.Connection, operator: Any) -> None:
    rows = [{"id": name} for name in ("1", "10", "2", "B", "a", "a:b", "2024-01-01", "2024-01-01T00:00:00Z")]
    put(database, rows)
    for value in map(form_of(ID), (*SCALARS, *(row["id"] for row in rows))):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not isinstance(value, str) and not number and operator not in ("eq", "contains"):
            continue
        if not isinstance(value, str) and operator in ("startsWith", "endsWith"):
            continue
        condition = Compare(ID, operator, value)
        for where in (condition, Not(condition), Compare(ID, "in", (value, None, "a"))):
            agree(database, rows, Query(where, (Order(ID, descending=True),)))
    for row in rows:
        for orders in ((), (Order(ID),), (Order(ID, descending=True),)):
            agree(database, rows, Query(order_by=orders, after=place_of(row, orders)))


@pytest.mark.parametrize("way", ["asc", "desc"])
@pytest.mark.parametrize("member", ["id", "a"])
@pytest.mark.parametrize("value", [*SCALARS, []], ids=repr)
def test_q16_made_up_cursors_are_valid_positions(
    database: sqlite3.Connection, value: Any, member: str, way: str
) -> None:
    rows: list[dict[str, Any]] = [{"id": "1", "a": 1}, {"id": "b", "a": "b"}, {"id": "c", "a": True}, {"id": "d"}]
    put(database, rows)
    after = write_after(("1\0", (() if isinstance(value, list) else value,)))
    agree(database, rows, parse_query({"orderBy": {member: way}, "after": after}))


@settings(max_examples=150, deadline=None)
@given(row_lists(), queries)
@pytest.mark.slow
def test_an_index_changes_only_the_query_plan(rows: list[dict[str, Any]], raw: dict[str, Any]) -> None:
    query = parse_query(raw)
    with closing(empty()) as connection:
        create_indexes(connection, TASKS, INDEXES)
        put(connection, rows)
        agree(connection, rows, query)


@settings(max_examples=400, deadline=None)
@given(pages())
@pytest.mark.slow
def test_indexes_over_several_members_change_only_the_query_plan(
    page: tuple[list[dict[str, Any]], dict[str, Any], dict[str, Any] | None],
) -> None:
    rows, raw, before = page
    if before is not None:
        raw = {**raw, "after": page_after(before, parse_query(raw).order_by)}
    with closing(empty()) as connection:
        create_indexes(connection, TASKS, INDEXES)
        put(connection, rows)
        agree(connection, rows, parse_query(raw))


@settings(max_examples=150, deadline=None)
@given(row_lists(), queries, st.integers(1, 3))
@pytest.mark.slow
def test_q12_pages_are_the_whole_without_gaps_and_doubles(
    rows: list[dict[str, Any]], raw: dict[str, Any], size: int
) -> None:
    whole = parse_query({name: raw[name] for name in ("where", "orderBy") if name in raw})
    with closing(empty()) as connection:
        put(connection, rows)
        pages: list[str] = []
        more: dict[str, Any] = {}
        while page := find_rows(connection, PROJECT, TASKS, parse_query({**raw, "offset": 0, "limit": size, **more})):
            pages += [row.key.id for row in page]
            more = {"after": page_after(page[-1].data, whole.order_by)}
        assert pages == found(connection, whole)


def test_rows_of_others_and_deleted_rows_are_not_found(database: sqlite3.Connection) -> None:
    put(database, [{"id": "1", "a": 1}])
    put(database, [{"id": "2", "a": 1}], deleted=True)
    put(database, [{"id": "3", "a": 1}], project="other")
    put(database, [{"id": "4", "a": 1}], collection="other")
    query = parse_query({"where": {"OR": [{"a": 1}, {"a": {"not": 1}}]}})
    assert found(database, query) == ["1"]
    assert count_rows(database, PROJECT, TASKS, query) == 1


def test_a_row_has_what_the_table_says_of_it(database: sqlite3.Connection) -> None:
    put(database, [{"id": "1", "at": "2024-01-01"}])
    database.execute("UPDATE entities SET version = 7, heads = x'0102', content_seq = 9")
    (row,) = find_rows(database, PROJECT, TASKS, Query())
    assert (row.key, row.version, row.deleted) == ((PROJECT, TASKS, "1"), 7, False)
    assert (row.data, row.heads, row.content_seq) == ({"id": "1", "at": "2024-01-01"}, b"\1\2", 9)


# indexes


def plan(connection: sqlite3.Connection, query: Query, collection: str = TASKS, *, count: bool = False) -> str:
    """SQLite's plan for exactly the statement of a query."""
    seen: list[str] = []
    connection.set_trace_callback(seen.append)
    try:
        (count_rows if count else find_rows)(connection, PROJECT, collection, query)
    finally:
        connection.set_trace_callback(None)
    (statement,) = (text for text in seen if not text.startswith("--"))
    return "; ".join(row[3] for row in connection.execute("EXPLAIN QUERY PLAN " + statement))


@pytest.fixture
def indexed(database: sqlite3.Connection) -> sqlite3.Connection:
    rows = [
        {
            "id": f"{number}",
            "status": ("pending", "done", "it's", None, True)[number % 5],
            "total": number % 50,
            "profile": {"city": f"city {number % 20}", "a.b": number},
            "createdAt": f"2024-01-01T00:00:{number % 60:02}.000Z",
        }
        for number in range(600)
    ]
    paths = [("status",), ("total",), ("profile", "city"), ("profile", "a.b"), ("createdAt",)]
    create_indexes(database, TASKS, [(path,) for path in paths])
    put(database, rows)
    return database


@pytest.mark.parametrize(
    "where",
    [
        {"status": "pending"},
        {"status": None},
        {"status": True},
        {"status": {"in": ["pending", "done"]}},
        {"status": {"in": ["pending", None, False]}},
        {"total": 7},
        {"total": 7.5},
        {"total": {"gt": 47}},
        {"total": {"gte": 3, "lt": 4}},
        {"profile.city": "city 3"},
        {"profile": {"a\\.b": 5}},
        {"createdAt": {"gte": "2024-01-01T00:00:58Z"}},
        {"AND": [{"OR": [{"status": "pending"}, {"total": 3}]}, {"profile.city": "city 3"}]},
    ],
)
def test_equality_in_and_ranges_search_the_index(indexed: sqlite3.Connection, where: dict[str, Any]) -> None:
    steps = plan(indexed, parse_query({"where": where}))
    assert "SEARCH entities USING INDEX query_" in steps, steps
    assert "<expr>" in steps, steps


@pytest.mark.parametrize("analyzed", [False, True])
@pytest.mark.parametrize("way", ["asc", "desc"])
@pytest.mark.parametrize("member", ["createdAt", "total", "profile.city"])
def test_orders_are_read_from_the_index(indexed: sqlite3.Connection, member: str, way: str, *, analyzed: bool) -> None:
    if analyzed:
        indexed.execute("ANALYZE")
    query = parse_query({"orderBy": {member: way}, "limit": 10})
    steps = plan(indexed, query)
    assert "USING INDEX query_" in steps, steps
    # falling orders end with ids that rise: only rows of one value are sorted
    assert ("TEMP B-TREE" in steps) == (way == "desc"), steps
    assert "USE TEMP B-TREE FOR ORDER BY" not in steps, steps


@pytest.mark.parametrize("way", ["asc", "desc"])
def test_a_page_begins_where_the_last_one_ended(indexed: sqlite3.Connection, way: str) -> None:
    query = parse_query({"orderBy": {"createdAt": way}, "limit": 10})
    last = find_rows(indexed, PROJECT, TASKS, query)[-1]
    steps = plan(indexed, parse_query({"orderBy": {"createdAt": way}, "after": page_after(last.data, query.order_by)}))
    assert f"(project=? AND <expr>{'<' if way == 'desc' else '>'}?" in steps, steps


@pytest.fixture
def paged(database: sqlite3.Connection) -> sqlite3.Connection:
    """Rows with indexes over one and over several members."""
    rows: list[dict[str, Any]] = [
        {
            "id": f"{number}",
            "team": ("red", "blue", 7, 7.5, True, False, None, [])[number % 8],
            "status": ("open", "done")[number % 2],
            "total": number % 50,
            "size": number % 10,
        }
        for number in range(600)
    ]
    team, status, total = ("team",), ("status",), ("total",)
    create_indexes(
        database,
        TASKS,
        [(team,), (status,), (total,), (team, total), (team, ("size",)), (team, status, total), (("x",), status)],
    )
    put(database, rows)
    return database


@pytest.mark.parametrize("analyzed", [False, True])
@pytest.mark.parametrize("way", ["asc", "desc"])
@pytest.mark.parametrize("team", ["red", 7, 7.5, True, False, None], ids=repr)
def test_a_page_of_equal_rows_is_read_from_an_index_over_both_members(
    paged: sqlite3.Connection, team: Any, way: str, *, analyzed: bool
) -> None:
    if analyzed:
        paged.execute("ANALYZE")
    raw = {"where": {"team": team}, "orderBy": {"total": way}, "limit": 10}
    first = plan(paged, parse_query(raw))
    last = find_rows(paged, PROJECT, TASKS, parse_query(raw))[-1]
    second = plan(paged, parse_query({**raw, "after": page_after(last.data, parse_query(raw).order_by)}))
    assert "(project=? AND <expr>=? AND <expr>=?)" in first, first
    assert f"(project=? AND <expr>=? AND <expr>=? AND <expr>{'<' if way == 'desc' else '>'}?)" in second, second
    for steps in (first, second):
        # falling orders end with ids that rise: only rows of one value are sorted
        assert ("TEMP B-TREE" in steps) == (way == "desc"), steps
        assert "USE TEMP B-TREE FOR ORDER BY" not in steps, steps


def test_nothing_is_sorted_if_ids_fall_too(paged: sqlite3.Connection) -> None:
    orders = [{"total": "desc"}, {"id": "desc"}]
    steps = plan(paged, parse_query({"where": {"team": "red"}, "orderBy": orders, "limit": 10}))
    assert "USING INDEX query_" in steps, steps
    assert "TEMP B-TREE" not in steps, steps


@pytest.mark.parametrize(
    ("where", "searched"),
    [
        ({"team": "red", "total": 7}, "<expr>=? AND <expr>=? AND <expr>=? AND <expr>=?)"),
        ({"team": "red", "total": {"gte": 7}}, "<expr>=? AND <expr>=? AND <expr>>? AND <expr><?)"),
        ({"team": "red", "total": {"gt": 7, "lt": 9}}, "<expr>=? AND <expr>=? AND <expr>>? AND <expr><?)"),
        ({"team": {"in": ["red", "blue"]}, "size": 7}, "<expr>=? AND <expr>=? AND <expr>=? AND <expr>=?)"),
        ({"team": {"in": [None, True]}, "size": 7}, "<expr>=? AND <expr>=? AND <expr>=? AND <expr>=?)"),
        ({"team": None, "status": "open", "total": {"lt": 7}}, "<expr>=?" + " AND <expr>=?" * 3 + " AND <expr>>?"),
    ],
)
def test_further_members_narrow_the_search(paged: sqlite3.Connection, where: dict[str, Any], searched: str) -> None:
    query = parse_query({"where": where})
    for steps in (plan(paged, query), plan(paged, query, count=True)):
        assert f"(project=? AND {searched}" in steps, steps


def test_an_index_is_not_searched_for_a_member_behind_its_first_one(paged: sqlite3.Connection) -> None:
    steps = plan(paged, parse_query({"where": {"status": "open"}, "orderBy": {"x": "asc"}}))
    assert "ANY" not in steps, steps


def test_a_connection_that_was_open_before_plans_with_new_indexes(tmp_path: Path) -> None:
    with (
        closing(sqlite3.connect(tmp_path / "one.db", isolation_level=None)) as writer,
        # SQLite keeps what a statement of EXPLAIN once said, whatever happens to the schema
        closing(sqlite3.connect(tmp_path / "one.db", isolation_level=None, cached_statements=0)) as reader,
    ):
        prepare(writer)
        put(writer, [{"id": "1", "a": 1}])
        query = parse_query({"where": {"a": {"in": [1, 2]}}})
        assert "query_" not in plan(reader, query)
        writer.execute("BEGIN IMMEDIATE")
        create_indexes(writer, TASKS, [A])
        writer.execute("COMMIT")
        for connection in (reader, writer):
            assert "SEARCH entities USING INDEX query_" in plan(connection, query)
            assert found(connection, query) == ["1"]


def test_ids_are_searched_without_an_index_of_their_own(indexed: sqlite3.Connection) -> None:
    for where in ({"id": "7"}, {"id": {"in": ["7", "8"]}}, {"id": {"gt": "7", "lt": "8"}}):
        assert "collection=? AND id" in plan(indexed, parse_query({"where": where}))


def test_another_collection_does_not_use_the_index(indexed: sqlite3.Connection) -> None:
    assert "query_" not in plan(indexed, parse_query({"where": {"status": "pending"}}), "other")


def index_names(connection: sqlite3.Connection) -> set[str]:
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'index' AND name LIKE 'query%'")
    return {name for (name,) in names}


def test_indexes_that_are_not_wanted_any_more_are_dropped_and_others_stay(database: sqlite3.Connection) -> None:
    create_indexes(database, TASKS, [A, (("b", "c"), ("d",)), (ID,)])
    create_indexes(database, "tasks:old", [A])
    before = index_names(database)
    assert len(before) == 3
    create_indexes(database, TASKS, [(("b", "c"), ("d",)), (("d",),)])
    after = index_names(database)
    assert len(after) == 3
    assert len(after & before) == 2
    create_indexes(database, TASKS, [(("b", "c"), ("d",)), (("d",),), (("d",), ID, ("e",))])
    assert index_names(database) == after
    create_indexes(database, TASKS, [])
    assert len(index_names(database)) == 1


@pytest.mark.parametrize("name", ['q"q', "back\\slash", "new\nline", "nul\0"])
def test_a_name_that_no_index_can_hold_is_refused_before_anything_changes(
    database: sqlite3.Connection, name: str
) -> None:
    create_indexes(database, TASKS, [A])
    before = index_names(database)
    with pytest.raises(InvalidRequest, match="cannot be indexed"):
        create_indexes(database, TASKS, [(("b",),), (("a",), ("c", name))])
    assert index_names(database) == before


def test_each_order_of_members_and_each_depth_is_an_index_of_its_own(database: sqlite3.Connection) -> None:
    b = ("b",)
    create_indexes(
        database, TASKS, [A, (b,), (("a",), b), (b, ("a",)), (("a", "b"),), (("a.b",),), (("a",), b, ("c",))]
    )
    assert len(index_names(database)) == 7


def test_names_and_values_are_never_read_as_sql(database: sqlite3.Connection) -> None:
    evil = "'); DROP TABLE entities; --"
    rows = [{"id": "1", evil: evil}, {"id": "2"}]
    put(database, rows)
    put(database, [{"id": "3"}], collection=evil)
    create_indexes(database, evil, [((evil,),)])
    create_indexes(database, TASKS, [((evil,), ("a", evil))])
    for operator in ("eq", "gte", "contains", "startsWith", "endsWith"):
        where = Compare((evil,), operator, evil)
        agree(database, rows, Query(where, (Order((evil,)),)))
    agree(database, rows, Query(Compare((evil,), "in", (evil,))))
    assert found(database, Query(), evil) == ["3"]


# as large as it may be


def test_q13_the_largest_queries_are_served(database: sqlite3.Connection) -> None:
    rows = [{"id": f"{number}", "a": number, "b": "x" * number} for number in range(20)]
    put(database, rows)
    many = [{"a": {"notIn": [f"{part}-{number}" for number in range(1000)]}} for part in range(99)]
    agree(database, rows, parse_query({"where": {"AND": [*many, {"a": {"lt": 7}}]}}))
    orders = [{f"m{number}": "desc" if number % 2 else "asc"} for number in range(7)]
    query = parse_query({"orderBy": [*orders, {"a": "desc"}]})
    agree(
        database, rows, parse_query({"orderBy": [*orders, {"a": "desc"}], "after": page_after(rows[5], query.order_by)})
    )
    agree(database, rows, parse_query({"where": {".".join(["n" * 250] * 10): {"not": 1}}}))
    agree(database, rows, parse_query({"where": {".".join(['"' * 250] * 10): {"not": 1}}}))


def test_q13_the_deepest_queries_are_served(database: sqlite3.Connection) -> None:
    rows = [{"id": f"{number}", "a": number} for number in range(20)]
    put(database, rows)
    flat: list[Any] = [{'"." ': number, "a": number} for number in range(5)]
    for outer in ("NOT", "OR", "AND"):
        where: dict[str, Any] = {"NOT": {"a": 3}}
        for level in range(8):
            where = {"OR": [*flat, where]} if level % 2 else {outer: [*flat, where] if outer != "NOT" else where}
        agree(database, rows, parse_query({"where": where}))
        agree(database, rows, parse_query({"where": {"NOT": where}, "orderBy": {'"."."': "desc"}}))


def test_row_filters_may_be_far_larger_than_queries(database: sqlite3.Connection) -> None:
    rows = [{"id": f"{number}", "a": number} for number in range(20)]
    put(database, rows)
    run = Or(tuple(Compare(("a",), "gte", number) for number in range(3, 1003)))
    where = And((Not(And((run, Compare(("a",), "contains", "x")))), run, *run.parts[:1000:100]))
    agree(database, rows, Query(Or((where, Compare(("a",), "eq", 1)))))
