"""Aggregates in SQLite mean the same as in memory."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from collab.query.aggregate import MAX_GROUP_MEMBERS, MAX_MEASURES, tally
from collab.query.match import compile_where
from collab.query.parse_aggregation import parse_aggregation
from collab.storage.sqlite.aggregate import group_rows
from tests.collab.query.aggregations import aggregations
from tests.collab.query.rows import VALUES, row_lists
from tests.collab.storage.sqlite.test_query import PROJECT, TASKS, empty, put

EVERYTHING = {name: ["a", "b", 'q"q'] for name in ("sum", "avg", "min", "max")}


@settings(max_examples=300, deadline=None)
@given(row_lists(), st.lists(aggregations, min_size=1, max_size=4))
@example([{"id": "1", "a": value} for value in VALUES[:0]], [{}])
@example([{"id": str(at), "a": value, "b": {"a": value}} for at, value in enumerate(VALUES)], [{"groupBy": ["a"]}])
@example([{"id": str(at), "a": value} for at, value in enumerate(VALUES)], [EVERYTHING, {**EVERYTHING, "groupBy": "a"}])
@example([{"id": "1", "a": {"b": 1}}, {"id": "2", "a": [2]}], [{"sum": ["a", "a.b", 'a.q"q']}])
@pytest.mark.slow
def test_g_the_law_groups_from_sqlite_are_the_groups_of_the_rows(
    rows: list[dict[str, Any]], raws: list[dict[str, Any]]
) -> None:
    with closing(empty()) as connection:
        put(connection, rows)
        put(connection, [{"id": "gone", "a": 1}], deleted=True)
        put(connection, [{"id": "1", "a": 1}], collection="others")
        put(connection, [{"id": "1", "a": 1}], project="others")
        for raw in raws:
            aggregation = parse_aggregation(raw)
            wanted = tally(filter(compile_where(aggregation.where), rows), aggregation)
            assert repr(group_rows(connection, PROJECT, TASKS, aggregation)) == repr(wanted)


def test_an_aggregate_of_as_many_members_as_there_may_be_is_answered() -> None:
    raw: dict[str, Any] = {
        name: [f"{name}{number}" for number in range(MAX_MEASURES)] for name in ("sum", "avg", "min", "max")
    }
    raw["groupBy"] = [f"group{number}" for number in range(MAX_GROUP_MEMBERS)]
    rows = [{"id": str(n), **{name: n for members in raw.values() for name in members}} for n in range(3)]
    with closing(empty()) as connection:
        put(connection, rows)
        aggregation = parse_aggregation(raw)
        assert group_rows(connection, PROJECT, TASKS, aggregation) == tally(rows, aggregation)
