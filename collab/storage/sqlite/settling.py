"""Takes settled dead letters and quarantined entries out of a SQLite record: see :mod:`collab.storage.settling`."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from collab.storage.reading import NumberedAside, NumberedLetter
from collab.storage.sqlite.documents import find_rid
from collab.storage.sqlite.files import FILE_NAME, check_there, connect, translate
from collab.storage.sqlite.schema import check

_BUSY_SECONDS = 10.0


def delete_letters(data: Path, letters: Sequence[NumberedLetter]) -> None:
    def delete(connection: sqlite3.Connection) -> None:
        connection.executemany(
            "DELETE FROM dead_letters WHERE number = ? AND webhook = ? AND project = ?",
            [(number, letter.webhook, letter.project) for number, letter in letters],
        )

    _change(data, delete)


def delete_aside(data: Path, aside: NumberedAside, why: str) -> None:
    def delete(connection: sqlite3.Connection) -> None:
        key, seq = aside.entry.key, aside.entry.seq
        rid = find_rid(connection, key)
        if seq is not None and rid is not None:
            (later,) = connection.execute(
                "SELECT EXISTS (SELECT 1 FROM log WHERE rid = ?1 AND seq > ?2)"
                " OR EXISTS (SELECT 1 FROM snapshots WHERE rid = ?1 AND seq > ?2)"
                " OR EXISTS (SELECT 1 FROM set_aside WHERE project = ?3 AND collection = ?4 AND id = ?5 AND seq > ?2)",
                (rid, seq, *key),
            ).fetchone()
            if not later:
                connection.execute(
                    "UPDATE set_aside SET content = x'', reason = ? WHERE number = ?", (why, aside.number)
                )
                return
        connection.execute("DELETE FROM set_aside WHERE number = ? AND content = ?", (aside.number, aside.entry.update))

    _change(data, delete)


def change_reason(data: Path, aside: NumberedAside, reason: str) -> bool:
    changed = 0

    def change(connection: sqlite3.Connection) -> None:
        nonlocal changed
        changed = connection.execute(
            "UPDATE set_aside SET reason = ? WHERE number = ? AND content = ? AND reason = ?",
            (reason.encode("utf-8", "replace").decode(), aside.number, aside.entry.update, aside.entry.reason),
        ).rowcount

    _change(data, change)
    return changed > 0


def _change(data: Path, work: Callable[[sqlite3.Connection], None]) -> None:
    path = data / FILE_NAME
    check_there(path)

    def change() -> None:
        with closing(connect(path, _BUSY_SECONDS)) as connection:
            check(connection)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("BEGIN IMMEDIATE")
            work(connection)
            connection.execute("COMMIT")

    translate(change)
