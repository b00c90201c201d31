"""Statements used by all parts of the SQLite storage."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

from collab.storage.codec import encodable

SIZES = (256, 64, 16, 4, 1)
"""Rows per statement: few sizes, so that each statement is prepared once."""


@contextmanager
def moment(connection: sqlite3.Connection) -> Iterator[None]:
    """Reads inside the block see one consistent state."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def insert(connection: sqlite3.Connection, into: str, rows: Sequence[tuple[Any, ...]], on_conflict: str = "") -> None:
    """Insert rows, many per statement.

    Before and after each statement the thread waits for the GIL. One row at a time, a busy event loop would make a
    thousand rows take 200 ms instead of 10.
    """
    at = 0
    for size in SIZES:
        if len(rows) - at < size:
            continue
        row = f"({', '.join('?' * len(rows[0]))})"
        statement = f"{into} VALUES {', '.join([row] * size)} {on_conflict}"
        while len(rows) - at >= size:
            values = list(chain.from_iterable(rows[at : at + size]))
            try:
                connection.execute(statement, values)
            except UnicodeEncodeError:
                # one user id with a lone surrogate must not block everybody's log
                connection.execute(statement, [encodable(value) for value in values])
            at += size
