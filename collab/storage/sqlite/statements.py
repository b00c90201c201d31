"""Statements used by all parts of the SQLite storage."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain
from typing import Any, TypeVar

from collab.storage.codec import encodable

T = TypeVar("T")


@contextmanager
def moment(connection: sqlite3.Connection) -> Iterator[None]:
    """Reads inside the block see one consistent state."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def portions(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """Rows for one statement each: up to 16, or one of few numbers, so that each statement is prepared once."""
    at, left = 0, len(rows)
    while left:
        size = 256 if left >= 256 else 64 if left >= 64 else min(left, 16)
        yield rows[at : at + size]
        at += size
        left -= size


def insert(connection: sqlite3.Connection, into: str, rows: Sequence[tuple[Any, ...]], on_conflict: str = "") -> None:
    """Insert rows, many per statement.

    Before and after each statement the thread waits for the GIL. One row at a time, a busy event loop would make a
    thousand rows take 200 ms instead of 10.

    ``into`` says what happens on a conflict. ``INSERT OR ROLLBACK`` is right inside a transaction that a failure ends
    anyway: to undo only the statement, SQLite would first copy each page that it changes into a temporary file.
    """
    for some in portions(rows):
        statement = _insertion(into, len(some[0]), len(some), on_conflict)
        values = list(chain.from_iterable(some))
        try:
            connection.execute(statement, values)
        except UnicodeEncodeError:
            # one user id with a lone surrogate must not block everybody's log
            connection.execute(statement, [encodable(value) for value in values])


@lru_cache(maxsize=256)
def _insertion(into: str, columns: int, rows: int, on_conflict: str) -> str:
    row = f"({', '.join('?' * columns)})"
    return f"{into} VALUES {', '.join([row] * rows)} {on_conflict}"
