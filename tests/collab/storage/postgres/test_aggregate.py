"""Aggregates in PostgreSQL mean the same as in memory."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from collab.query.aggregate import group_row, tally
from collab.query.match import compile_where
from collab.query.parse_aggregation import parse_aggregation
from collab.storage.postgres.aggregate import group_rows
from tests.collab.query.aggregations import aggregations
from tests.collab.query.rows import VALUES, row_lists
from tests.collab.storage.postgres.test_query import PROJECT, TASKS, Entities, database, entities

__all__ = ["database", "entities"]

EVERYTHING = {name: ["a", "b", 'q"q'] for name in ("sum", "avg", "min", "max")}


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=row_lists(), raws=st.lists(aggregations, min_size=1, max_size=4))
@example(rows=[{"id": str(at), "a": value} for at, value in enumerate(VALUES)], raws=[EVERYTHING])
@example(rows=[{"id": str(at), "a": value} for at, value in enumerate(VALUES)], raws=[{**EVERYTHING, "groupBy": "a"}])
@example(rows=[{"id": str(at), "a": value} for at, value in enumerate([1, "1", 2, "2"])], raws=[EVERYTHING])
@pytest.mark.slow
def test_g_the_law_groups_from_postgresql_are_the_groups_of_the_rows(
    entities: Entities, rows: list[dict[str, Any]], raws: list[dict[str, Any]]
) -> None:
    entities.clear()
    entities.put(rows)
    entities.put([{"id": "gone", "a": 1}], deleted=True)
    entities.put([{"id": "1", "a": 1}], "others")
    for raw in raws:
        aggregation = parse_aggregation(raw)
        wanted = tally(filter(compile_where(aggregation.where), rows), aggregation)
        found = entities.run(group_rows(entities.connection, PROJECT, TASKS, aggregation))
        assert found == wanted
        shown = [[group_row(aggregation, group) for group in groups] for groups in (found, wanted)]
        assert repr(shown[0]) == repr(shown[1])
