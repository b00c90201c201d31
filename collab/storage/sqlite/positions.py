"""Positions of events in SQLite: the assigned ones of each project, and those whose events are stored."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from collab.storage.base import Positions, Span
from collab.storage.sqlite.statements import moment

NEWEST = "max(p.newest, coalesce((SELECT max(position) FROM events AS v WHERE v.project = p.project), 0))"
"""The newest assigned position of a project, for the table ``projects AS p``."""


def read_positions(connection: sqlite3.Connection, projects: Sequence[str] | None = None) -> Positions:
    """The newest position of these projects, or of every one."""
    where = "" if projects is None else " WHERE p.project IN (SELECT value FROM json_each(?))"
    with moment(connection):
        epoch, base = connection.execute(
            "SELECT (SELECT value FROM record WHERE name = 'epoch'), (SELECT value FROM record WHERE name = 'base')"
        ).fetchone()
        newest = connection.execute(
            f"SELECT project, {NEWEST} FROM projects AS p{where}",  # noqa: S608
            () if projects is None else (json.dumps(projects),),
        ).fetchall()
    return Positions(epoch, base, dict(newest))


def read_span(connection: sqlite3.Connection, project: str) -> Span:
    row = connection.execute(
        f"SELECT oldest, {NEWEST} FROM projects AS p WHERE project = ?",  # noqa: S608
        (project,),
    ).fetchone()
    if row is None:
        (base,) = connection.execute("SELECT value FROM record WHERE name = 'base'").fetchone()
        return Span(base, base)
    return Span(*row)


def read_newest_at(connection: sqlite3.Connection) -> float:
    """The time of the newest event, 0 if there was none."""
    (at,) = connection.execute(
        "SELECT max(coalesce((SELECT max((SELECT at FROM events AS v WHERE v.project = p.project"
        " ORDER BY position DESC LIMIT 1)) FROM projects AS p), 0.0),"
        " coalesce((SELECT value FROM record WHERE name = 'newest_at'), 0.0))"
    ).fetchone()
    return float(at)


def next_position(connection: sqlite3.Connection, project: str) -> int:
    """The position of a project's next event."""
    connection.execute(
        "INSERT OR IGNORE INTO projects SELECT ?, value, value FROM record WHERE name = 'base'", (project,)
    )
    return read_span(connection, project).newest + 1
