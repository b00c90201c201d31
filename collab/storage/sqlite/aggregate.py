"""Aggregates in SQLite.

SQLite would add fractions inexactly, and may read them differently than we do. So it only counts how often each
combination of values occurs, and :mod:`collab.query.aggregate` adds these up. One row with one text has all of them:
SQLite computes it without the GIL, which a thread would otherwise wait for at each row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any

import msgspec

from collab.query.aggregate import Aggregation, GroupTally, tally_alike
from collab.query.query import Path
from collab.storage.rules import is_simple
from collab.storage.sqlite.query import literal, selection
from collab.storage.sqlite.search import check_indexed

_list = msgspec.json.Decoder(list[Any])


def group_rows(
    connection: sqlite3.Connection, project: str, collection: str, aggregation: Aggregation
) -> list[GroupTally]:
    """The groups of an aggregate. Raises :class:`collab.errors.InvalidRequest` for too many,
    :class:`collab.errors.Unavailable` while what it searches is not indexed.
    """
    if aggregation.search is not None:
        check_indexed(connection, collection, aggregation.search.paths)
    where = selection(project, collection, aggregation.rows)
    # the shortest first: a longer path leads into the value of a shorter one, which has it already
    read = sorted(dict.fromkeys(map(_readable, aggregation.paths)), key=len)
    # with several paths, the result is a JSON array of the values as they are written; SQLite reads 126 at most
    several = read * 2 if len(read) == 1 else read
    paths = ", ".join(literal("$" + "".join(f'."{name}"' for name in path)) for path in several)
    values = f"json_extract(data, {paths})" if read else "'[]'"
    (text,) = connection.execute(
        f"SELECT group_concat(times || ' ' || listed, char(10)) FROM (SELECT {values} AS listed, count(*) AS times"  # noqa: S608
        f" FROM entities WHERE {where.sql} GROUP BY listed)",
        where.values,
    ).fetchone()
    return tally_alike(_rows(text or "", read), aggregation)


def _readable(path: Path) -> Path:
    """The part of a path that JSON paths can express; the value there has the rest."""
    return tuple(takewhile(is_simple, path))


def _rows(text: str, read: Sequence[Path]) -> Iterator[tuple[dict[str, Any], int]]:
    """Rows with only the members at these paths, and how many are alike."""
    for line in text.split("\n") if text else ():
        times, _, listed = line.partition(" ")
        row: dict[str, Any] = {}
        for path, value in zip(read, _list.decode(listed), strict=False):
            if not path:
                row = value
                break
            inner = row
            for name in path[:-1]:
                inner = inner.setdefault(name, {})
                if not isinstance(inner, dict):
                    break
            else:
                inner.setdefault(path[-1], value)
        yield row, int(times)
