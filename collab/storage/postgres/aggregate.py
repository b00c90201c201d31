"""Aggregates in PostgreSQL, whose ``numeric`` adds decimals exactly."""

# ruff: noqa: S608  -- values are parameters; names of members and collections are literals

from __future__ import annotations

from decimal import Decimal
from typing import Any

import asyncpg

from collab.query.aggregate import (
    MAX_GROUPS,
    Aggregation,
    GroupTally,
    Sum,
    check_group_count,
    in_order,
    number_of,
)
from collab.query.match import FALSE, ID, NULL, NUMBER, TEXT, TRUE
from collab.query.query import Path, Scalar, SortKey
from collab.storage.postgres.query import (
    Values,
    kind_sql,
    number_sql,
    selection,
    text_sql,
)
from collab.storage.postgres.search import check_indexed

_ONE_SORT = {NULL: None, FALSE: False, TRUE: True}


async def group_rows(
    connection: asyncpg.Connection, project: str, collection: str, aggregation: Aggregation
) -> list[GroupTally]:
    """The groups of an aggregate. Raises :class:`collab.errors.InvalidRequest` for too many,
    :class:`collab.errors.Unavailable` while what it searches is not indexed.
    """
    if aggregation.search is not None:
        await check_indexed(connection, collection, aggregation.search.paths)
    values = Values()
    where = selection(project, collection, aggregation.rows, values)
    keys = [part for path in aggregation.group_by for part in _parts(path)]
    columns = [
        *keys,
        "count(*)",
        *(part for path in aggregation.summed for part in _sum(path)),
        *(part for path in aggregation.min for part in _end(path, "min")),
        *(part for path in aggregation.max for part in _end(path, "max")),
    ]
    sql = f"SELECT {', '.join(columns)} FROM collab.entities WHERE {where}"
    if keys:
        sql += f" GROUP BY {', '.join(map(str, range(1, len(keys) + 1)))} LIMIT {MAX_GROUPS + 1}"
    rows = await connection.fetch(sql, *values.given)
    check_group_count(len(rows))
    return in_order(_group(list(row), aggregation) for row in rows)


def _group(row: list[Any], aggregation: Aggregation) -> GroupTally:
    cells = iter(row)
    key = tuple(_value(next(cells), next(cells), next(cells)) for _ in aggregation.group_by)
    rows = next(cells)
    sums = tuple(Sum(next(cells), next(cells) or Decimal(0)) for _ in aggregation.summed)
    lows = tuple(_nearest(next(cells), next(cells), highest=False) for _ in aggregation.min)
    highs = tuple(_nearest(next(cells), next(cells), highest=True) for _ in aggregation.max)
    return GroupTally(key, rows, sums, lows, highs)


def _parts(path: Path) -> tuple[str, str, str]:
    if path == ID:
        return f"{TEXT}::int", "0::numeric", "id"
    return kind_sql(path), number_sql(path), text_sql(path)


def _sum(path: Path) -> tuple[str, str]:
    kind, number, _ = _parts(path)
    only = f"FILTER (WHERE {kind} = {NUMBER})"
    return f"count(*) {only}", f"sum({number}) {only}"


def _end(path: Path, function: str) -> tuple[str, str]:
    kind, number, text = _parts(path)
    return (
        f"{function}({number}) FILTER (WHERE {kind} = {NUMBER})",
        f"{function}({text}) FILTER (WHERE {kind} = {TEXT})",
    )


def _value(kind: int, number: Decimal, text: str) -> SortKey:
    if kind in _ONE_SORT:
        return _ONE_SORT[kind]
    if kind == NUMBER:
        return number_of(number)
    return text if kind == TEXT else ()


def _nearest(number: Decimal | None, text: str | None, *, highest: bool) -> Scalar:
    """Numbers come before strings."""
    value = None if number is None else number_of(number)
    first, second = (text, value) if highest else (value, text)
    return second if first is None else first
