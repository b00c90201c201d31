"""Deleting and changing many rows in slices: each transaction is bounded, so that everybody's commits go in between.

With ``secure_delete`` deleting costs as much as writing: 256 KiB take about two milliseconds.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final

SLICE_BYTES: Final = 256 * 1024
"""What a slice has at most, except where a single row is larger."""

SLICE_ROWS: Final = 2000
"""Rows of a slice at most."""

_ROW_BYTES: Final = 64  # what a row takes besides

_ORDERS: Final = {
    "log": ("rid", "seq", "length(content)"),
    "archive": ("rid", "to_seq", "length(content)"),
    "bases": ("rid", "seq", "length(content)"),
    "parts": ("rid", "rowid", "length(content)"),
    "snapshots": ("rid", "seq", "length(content) + length(gate)"),
    "events": ("eid", "version", "length(data) + length(changes)"),
}


def delete_slice(
    connection: sqlite3.Connection, table: str, owner: int | None, to: int = 1 << 62, where: str = "1"
) -> int:
    """Delete the first rows of a document or an entity, up to ``to`` in the order of the table.

    ``where``: a condition for them. Returns about how many bytes they had, 0 if there were none.
    """
    of, order, size = _ORDERS[table]
    rows = f"{of} = ?1 AND {order} <= ?2 AND ({where})"
    sizes = f"SELECT {order} AS n, {size} + {_ROW_BYTES} AS size FROM {table} WHERE {rows}"  # noqa: S608
    sums = f"SELECT n, size, sum(size) OVER (ORDER BY n) - size AS before FROM ({sizes} ORDER BY n LIMIT {SLICE_ROWS})"  # noqa: S608
    last, total = connection.execute(
        f"SELECT max(n), sum(size) FROM ({sums}) WHERE before < {SLICE_BYTES}",  # noqa: S608
        (owner, to),
    ).fetchone()
    if last is None:
        return 0
    connection.execute(f"DELETE FROM {table} WHERE {rows}", (owner, last))  # noqa: S608
    return int(total)


def change_numbered(
    connection: sqlite3.Connection, table: str, change: str, after: int, where: str, values: tuple[Any, ...]
) -> int | None:
    """Of the next rows by ``number``, which are not found by an index, change those that fulfil a condition.

    ``change`` is the statement without its condition. Returns the number to continue after, ``None`` at the end.
    """
    (last,) = connection.execute(
        f"SELECT max(number) FROM (SELECT number FROM {table} WHERE number > ? ORDER BY number LIMIT {SLICE_ROWS})",  # noqa: S608
        (after,),
    ).fetchone()
    if last is None:
        return None
    connection.execute(f"{change} WHERE number > ? AND number <= ? AND {where}", (after, last, *values))
    return int(last)
