"""Queries in PostgreSQL mean what they mean in memory, and use the indexes that were made for them."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from collab.errors import InvalidRequest
from collab.query.cursor import page_after, place_of, write_after
from collab.query.match import ID, form, form_of, select
from collab.query.parse import parse_query
from collab.query.query import MAX_INDEX_MEMBERS, Compare, IndexPaths, Not, Order, Query
from collab.storage.codec import to_json
from collab.storage.postgres.query import count_rows, count_statement, create_indexes, find_rows, find_statement
from collab.storage.postgres.schema import prepare
from collab.storage.postgres.values import keys_and_texts
from tests.collab.query.rows import INDEXES, SCALARS, VALUES, pages, queries, row_lists
from tests.postgres import PostgresServer

PROJECT, TASKS = "acme", "tasks"


class Entities:
    """The table ``entities`` of one database, from code that does not wait."""

    def __init__(self, runner: asyncio.Runner, connection: asyncpg.Connection) -> None:
        self.run = runner.run
        self.connection = connection

    def put(self, rows: Sequence[Mapping[str, Any]], collection: str = TASKS, *, deleted: bool = False) -> None:
        """These rows, beside those that are there."""
        values = [(PROJECT, collection, row["id"], deleted, to_json(row), *keys_and_texts(dict(row))) for row in rows]
        self.run(
            self.connection.executemany(
                "INSERT INTO collab.entities (project, collection, id, version, deleted, data, keys, texts, heads,"
                " content_seq, created_at, updated_at) VALUES ($1, $2, $3, 1, $4, $5, $6, $7, '', 0, 0, 0)",
                values,
            )
        )

    def clear(self) -> None:
        """No rows, and no indexes of queries."""
        self.run(self.connection.execute("TRUNCATE collab.entities CASCADE"))

    def found(self, query: Query, collection: str = TASKS) -> list[str]:
        """The ids of what is found."""
        return [row.key.id for row in self.run(find_rows(self.connection, PROJECT, collection, query))]

    def find_alike(self, rows: Sequence[dict[str, Any]], query: Query) -> None:
        """The same is found as in memory."""
        assert self.found(query) == [row["id"] for row in select(rows, query)]

    def agree(self, rows: Sequence[dict[str, Any]], query: Query) -> None:
        """The same is found and counted as in memory."""
        self.find_alike(rows, query)
        everything = Query(query.where, query.order_by, None, 0, query.after)
        assert self.run(count_rows(self.connection, PROJECT, TASKS, query)) == len(select(rows, everything))

    def index(self, *indexes: IndexPaths, collection: str = TASKS) -> None:
        """Have these indexes, and no others."""
        self.run(create_indexes(self.connection, collection, indexes))

    def index_names(self) -> set[str]:
        """Those made for queries."""
        names = self.run(self.connection.fetch("SELECT indexname FROM pg_indexes WHERE indexname LIKE 'query%'"))
        return {row[0] for row in names}

    def measured(self) -> set[str]:
        """The names of the statistics made for queries."""
        names = self.run(self.connection.fetch("SELECT stxname FROM pg_statistic_ext WHERE stxname LIKE 'query%'"))
        return {row[0] for row in names}

    def rows(self, query: Query) -> list[dict[str, Any]]:
        """What is found."""
        return [row.data for row in self.run(find_rows(self.connection, PROJECT, TASKS, query))]

    def plan(self, query: Query, collection: str = TASKS, *, count: bool = False) -> str:
        """How PostgreSQL goes about it if it can choose between an index and many rows."""
        sql, values = (count_statement if count else find_statement)(PROJECT, collection, query)
        return "\n".join(row[0] for row in self.run(self.connection.fetch("EXPLAIN " + sql, *values)))


@pytest.fixture(scope="module")
def database(postgres: PostgresServer) -> Iterator[Entities]:
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(postgres.database()))
        runner.run(prepare(connection))
        yield Entities(runner, connection)
        runner.run(connection.close())


@pytest.fixture
def entities(database: Entities) -> Iterator[Entities]:
    yield database
    database.run(database.connection.execute("RESET ALL"))
    database.clear()
    for collection in (TASKS, "tasks:old"):
        database.index(collection=collection)


quietly = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quietly
@given(rows=row_lists(), raws=st.lists(queries, min_size=1, max_size=4), data=st.data())
@example(
    rows=[{"id": "1", "a": True}, {"id": "2", "a": 1}],
    raws=[{"where": {"a": 1}}, {"where": {"a": {"in": [True]}}}],
    data=None,
)
@example(rows=[{"id": "1", "a": '{"b":1}'}, {"id": "2", 'q"q': '{"b":1}'}], raws=[{"where": {'q"q.b': 1}}], data=None)
@example(rows=[{"id": "5"}], raws=[{"where": {"id": 5}}, {"where": {"id": {"not": {"gte": 4}}}}], data=None)
@example(
    rows=[{"id": "1", "a": 10**400}, {"id": "2", "a": 2**64 + 1}],
    raws=[{"where": {"a": 2**64}}, {"orderBy": {"a": "desc"}}],
    data=None,
)
def test_q_the_law_rows_from_postgresql_are_the_rows_that_match_sorted_and_windowed(
    entities: Entities, rows: list[dict[str, Any]], raws: list[dict[str, Any]], data: st.DataObject | None
) -> None:
    entities.clear()
    entities.put(rows)
    for raw in raws:
        query = parse_query(raw)
        entities.agree(rows, query)
        if data is not None and rows:
            place = data.draw(st.sampled_from(rows))
            entities.agree(rows, parse_query({**raw, "after": page_after(place, query.order_by)}))


@pytest.mark.parametrize("path", [("a",), ("a", "b"), ('q"q', "b"), ("back\\slash", "it's")])
def test_q_the_law_for_each_operator_between_each_two_values(entities: Entities, path: tuple[str, ...]) -> None:
    rows: list[dict[str, Any]] = [{"id": "missing"}, {"id": "text", path[0]: '{"b":1}'}, {"id": "list", path[0]: ["b"]}]
    for index, value in enumerate(VALUES):
        for name in reversed(path):
            value = {name: value}
        rows.append({"id": f"{index}", **value})
    entities.put(rows)
    for value in SCALARS:
        comparisons = [Compare(path, "eq", form(value)), Compare(path, "in", (form(value), "other", 7))]
        comparisons.append(Compare(path, "contains", value))
        if isinstance(value, str):
            comparisons += [Compare(path, "startsWith", value), Compare(path, "endsWith", value)]
        if value is not None and not isinstance(value, bool):
            comparisons += [Compare(path, "lt", form(value)), Compare(path, "lte", form(value))]
            comparisons += [Compare(path, "gt", form(value)), Compare(path, "gte", form(value))]
        for comparison in comparisons:
            entities.find_alike(rows, Query(comparison))
            entities.find_alike(rows, Query(Not(comparison)))
    entities.agree(rows, Query(Compare(path, "in", tuple(map(form, SCALARS)))))
    for orders in ((Order(path),), (Order(path, descending=True),), (Order(path), Order(ID, descending=True))):
        entities.agree(rows, Query(order_by=orders))
        for row in rows:
            entities.agree(rows, Query(order_by=orders, after=place_of(row, orders)))


@pytest.mark.parametrize("operator", ["eq", "lt", "lte", "gt", "gte", "contains", "startsWith", "endsWith"])
def test_q15_the_law_for_ids(entities: Entities, operator: Any) -> None:
    rows = [{"id": name} for name in ("1", "10", "2", "B", "a", "a:b", "2024-01-01", "2024-01-01T00:00:00Z")]
    entities.put(rows)
    for value in map(form_of(ID), (*SCALARS, *(row["id"] for row in rows))):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not isinstance(value, str) and not number and operator not in ("eq", "contains"):
            continue
        if not isinstance(value, str) and operator in ("startsWith", "endsWith"):
            continue
        condition = Compare(ID, operator, value)
        for where in (condition, Not(condition), Compare(ID, "in", (value, None, "a"))):
            entities.agree(rows, Query(where, (Order(ID, descending=True),)))
    for row in rows:
        for orders in ((), (Order(ID),), (Order(ID, descending=True),)):
            entities.agree(rows, Query(order_by=orders, after=place_of(row, orders)))


@pytest.mark.parametrize("way", ["asc", "desc"])
@pytest.mark.parametrize("member", ["id", "a"])
def test_q16_cursors_that_no_page_gave_are_places_all_the_same(entities: Entities, member: str, way: str) -> None:
    rows: list[dict[str, Any]] = [{"id": "1", "a": 1}, {"id": "b", "a": "b"}, {"id": "c", "a": True}, {"id": "d"}]
    entities.put(rows)
    for value in [*SCALARS, []]:
        after = write_after(("1\0", (() if isinstance(value, list) else value,)))
        entities.agree(rows, parse_query({"orderBy": {member: way}, "after": after}))


@settings(quietly, max_examples=150)
@given(rows=row_lists(), raw=queries)
def test_an_index_changes_nothing_but_the_road(
    entities: Entities, rows: list[dict[str, Any]], raw: dict[str, Any]
) -> None:
    if not entities.index_names():
        entities.index(*INDEXES)
        entities.run(entities.connection.execute("SET enable_seqscan = off"))
    entities.clear()
    entities.put(rows)
    entities.agree(rows, parse_query(raw))


@pytest.mark.slow
@pytest.mark.parametrize("indexes", [INDEXES, [paths for paths in INDEXES if len(paths) > 1]], ids=["all", "several"])
@settings(quietly, max_examples=200)
@given(page=pages())
def test_indexes_over_several_members_change_nothing_but_the_road(
    entities: Entities,
    indexes: list[IndexPaths],
    page: tuple[list[dict[str, Any]], dict[str, Any], dict[str, Any] | None],
) -> None:
    if not entities.index_names():
        entities.index(*indexes)
        for way in ("seqscan", "bitmapscan", "sort"):  # what is left: the order of an index
            entities.run(entities.connection.execute(f"SET enable_{way} = off"))
    rows, raw, before = page
    if before is not None:
        raw = {**raw, "after": page_after(before, parse_query(raw).order_by)}
    entities.clear()
    entities.put(rows)
    entities.agree(rows, parse_query(raw))


def test_a_long_text_is_indexed_by_its_beginning(entities: Entities) -> None:
    entities.index((("a",),), (("a",), ("b",)))
    begin = "x" * 100
    rows = [
        {"id": "1", "a": begin, "b": 3},
        {"id": "2", "a": begin + "b", "b": 1},
        {"id": "3", "a": begin + "a" * 100_000, "b": 2},
        {"id": "4", "a": begin[1:], "b": 2},
    ]
    entities.put(rows)
    for operator in ("eq", "lt", "lte", "gt", "gte", "startsWith"):
        for text in (begin[1:], begin, begin + "a", begin + "b"):
            entities.agree(rows, Query(Compare(("a",), operator, text)))
    entities.agree(rows, Query(Compare(("a",), "in", (begin, begin + "b"))))
    for way in (False, True):
        for orders in (
            (Order(("a",), way),),
            (Order(("a",), way), Order(("b",), way)),
            (Order(("b",), way), Order(("a",), way)),
        ):
            for row in rows:
                entities.agree(rows, Query(order_by=orders, after=place_of(row, orders)))


def test_the_largest_rows_fit_into_the_largest_index(entities: Entities) -> None:
    paths = tuple((f"m{number}",) for number in range(MAX_INDEX_MEMBERS))
    entities.index(paths)
    shuffled = random.Random(1)
    row = {name: "".join(chr(shuffled.randrange(0x10000, 0x110000)) for _ in range(1000)) for (name,) in paths}
    entities.put([{"id": "i" * 128, **row}])
    entities.put([{"id": "n" * 128, **{name: -1.2345678901234567e-300 for (name,) in paths}}])
    entities.run(entities.connection.execute("UPDATE collab.entities SET project = repeat('p', 128)"))


def test_equality_in_ranges_and_orders_use_the_index(entities: Entities) -> None:
    rows = [
        {"id": f"{number}", "status": ("pending", "done", None)[number % 3], "total": number} for number in range(3000)
    ]
    entities.put(rows)
    entities.index((("status",),), (("total",),))
    for where in ({"total": 7}, {"total": {"gt": 2990}}, {"total": {"in": [1, 2]}}, {"total": {"gte": 3, "lt": 4}}):
        assert "Index Cond" in (plan := entities.plan(parse_query({"where": where}))), plan
        assert "query_" in plan, plan
    plan = entities.plan(parse_query({"orderBy": {"total": "asc"}, "limit": 10}))
    assert "Index Scan using query_" in plan, plan
    assert "query_" not in entities.plan(parse_query({"where": {"total": 7}}), "other")


@pytest.fixture
def paged(entities: Entities) -> Entities:
    """Rows with indexes over one and over several members."""
    rows: list[dict[str, Any]] = [
        {
            "id": f"{number}",
            "team": ("red", "blue", 7, 7.5, True, False, None, [])[number % 8],
            "status": ("open", "done")[number // 8 % 2],
            "total": number % 997,
        }
        for number in range(4000)
    ]
    entities.put(rows)
    team, status, total = ("team",), ("status",), ("total",)
    entities.index((team,), (status,), (total,), (team, total), (team, status, total))
    return entities


@pytest.mark.parametrize("way", ["asc", "desc"])
@pytest.mark.parametrize("team", ["red", 7, 7.5, True, False, None], ids=repr)
def test_a_page_of_equal_rows_is_read_from_an_index_over_both_members(paged: Entities, team: Any, way: str) -> None:
    raw = {"where": {"team": team}, "orderBy": {"total": way}, "limit": 10}
    last = paged.rows(parse_query(raw))[-1]
    second = {**raw, "after": page_after(last, parse_query(raw).order_by)}
    for query in (parse_query(raw), parse_query(second)):
        plan = paged.plan(query)
        direction = "Index Scan Backward" if way == "desc" else "Index Scan"
        assert f"{direction} using query_" in plan, plan
        assert "Incremental Sort" in plan, plan  # of equal beginnings of texts
        assert "->  Sort" not in plan, plan


def test_a_page_begins_where_the_last_one_ended(paged: Entities) -> None:
    for where, way in (({}, "asc"), ({}, "desc"), ({"team": "red"}, "asc"), ({"team": "red"}, "desc")):
        raw = {"where": where, "orderBy": {"total": way}, "limit": 10}
        last = paged.rows(parse_query({**raw, "limit": 300}))[-1]
        plan = paged.plan(parse_query({**raw, "after": page_after(last, parse_query(raw).order_by)}))
        (searched,) = (line for line in plan.splitlines() if "Index Cond" in line)
        assert (") <= ROW(" if way == "desc" else ") >= ROW(") in searched, plan


@pytest.mark.parametrize(
    "where",
    [
        {"team": "red", "total": 7},
        {"team": "red", "total": {"gte": 7, "lt": 9}},
        {"team": {"in": ["red", "blue"]}, "total": 7},
        {"team": None, "status": "open", "total": {"lt": 3}},
    ],
)
def test_further_members_narrow_the_search(paged: Entities, where: dict[str, Any]) -> None:
    for count in (False, True):
        plan = paged.plan(parse_query({"where": where}), count=count)
        assert "query_" in plan, plan
        assert all(name in "".join(line for line in plan.splitlines() if "Index Cond" in line) for name in where), plan


def test_the_planner_knows_how_common_values_are_in_an_indexed_member(paged: Entities) -> None:
    paged.put([{"id": f"{number}", "team": "red"} for number in range(2000)], "other")
    paged.run(paged.connection.execute("ANALYZE collab.entities"))
    for team in ("red", 7, None, True):
        plan = paged.plan(parse_query({"where": {"team": team}}), count=True)
        rows = [int(found) for found in re.findall(r"Scan .* rows=(\d+)", plan)]
        assert 400 < min(rows) < 600, plan  # of the 500


def test_an_interrupted_build_is_repeated(paged: Entities) -> None:
    before = paged.index_names()
    paged.run(
        paged.connection.execute(
            "UPDATE pg_index SET indisvalid = false"
            " WHERE indexrelid IN (SELECT oid FROM pg_class WHERE starts_with(relname, 'query_'))"
        )
    )
    team, status, total = ("team",), ("status",), ("total",)
    paged.index((team,), (status,), (total,), (team, total), (team, status, total))
    valid = "SELECT bool_and(indisvalid) FROM pg_index WHERE indrelid = 'collab.entities'::regclass"
    assert paged.run(paged.connection.fetchval(valid))
    assert paged.index_names() == before


def test_indexes_that_are_not_wanted_any_more_are_dropped_and_others_stay(entities: Entities) -> None:
    d = ("d",)
    entities.index((("a",),), (("b", "c"), d), (ID,))
    entities.index((("a",),), collection="tasks:old")
    before, measured = entities.index_names(), entities.measured()
    assert (len(before), len(measured)) == (3, 4)
    entities.index((("b", "c"), d), (d,))
    after = entities.index_names()
    assert len(after) == 3
    assert len(after & before) == 2
    assert entities.measured() < measured
    entities.index((("b", "c"), d), (d,), (d, ID, ("e",)))
    assert entities.index_names() == after
    entities.run(entities.connection.execute(f"DROP STATISTICS collab.{', collab.'.join(entities.measured())}"))
    entities.index(collection="tasks:old")
    entities.index((("b", "c"), d), (d,))
    assert (len(entities.index_names()), len(entities.measured())) == (2, 2)
    entities.index()
    assert (len(entities.index_names()), len(entities.measured())) == (0, 0)


@pytest.mark.parametrize("name", ['q"q', "back\\slash", "new\nline", "nul\0"])
def test_names_that_no_index_can_hold_are_refused(entities: Entities, name: str) -> None:
    with pytest.raises(InvalidRequest):
        entities.index((("b",),), (("a",), ("b", name)))
    assert not entities.index_names()


def test_deleted_rows_and_those_of_others_are_not_found(entities: Entities) -> None:
    entities.put([{"id": "1", "a": 1}])
    entities.put([{"id": "2", "a": 1}], deleted=True)
    entities.put([{"id": "3", "a": 1}], "other")
    assert entities.found(parse_query({"where": {"OR": [{"a": 1}, {"a": {"not": 1}}]}})) == ["1"]
