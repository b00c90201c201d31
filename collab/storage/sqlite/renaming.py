"""Renames a collection in SQLite, in one transaction: see :mod:`collab.storage.renaming`."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from secrets import token_hex

from collab.storage.renaming import Renamed, check_found, check_names, renamed_event
from collab.storage.sqlite.files import FILE_NAME, check_there, connect, take_folder, translate
from collab.storage.sqlite.query import create_indexes
from collab.storage.sqlite.schema import check
from collab.storage.sqlite.search import forget_texts, index_anew

_LOCK_SECONDS = 1.0
_NAMED = ("entities", "documents", "set_aside")


def rename_in_sqlite(data: Path, old: str, new: str, project: str | None) -> Renamed:
    """Rename a collection in one project or in all.

    Raises :class:`collab.storage.base.StorageError` if there is no record or another process uses it,
    :class:`collab.errors.NotFound`, :class:`collab.errors.Conflict`, and :class:`collab.errors.InvalidRequest`.
    """
    check_names(old, new)
    check_there(data / FILE_NAME)

    def rename() -> Renamed:
        with closing(take_folder(data, _LOCK_SECONDS)), closing(connect(data / FILE_NAME, 5.0)) as connection:
            check(connection)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            try:
                done = _rename(connection, old, new, project)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        return done

    return translate(rename)


def _rename(connection: sqlite3.Connection, old: str, new: str, project: str | None) -> Renamed:
    names = {"old": old, "new": new, "project": project}
    where = "collection = :{} AND (:project IS NULL OR project = :project)"

    def count(name: str) -> int:
        counts = (f"SELECT count(*) AS n FROM {table} WHERE {where.format(name)}" for table in _NAMED)  # noqa: S608
        return int(connection.execute(f"SELECT sum(n) FROM ({' UNION ALL '.join(counts)})", names).fetchone()[0])  # noqa: S608

    check_found(old, new, olds=count("old"), news=count("new"))
    changed = [
        connection.execute(f"UPDATE {table} SET collection = :new WHERE {where.format('old')}", names).rowcount  # noqa: S608
        for table in _NAMED
    ]
    letters = connection.execute(
        "SELECT number, event FROM dead_letters WHERE json_extract(event, '$.collection') = :old"
        " AND (:project IS NULL OR project = :project)",
        names,
    ).fetchall()
    connection.executemany(
        "UPDATE dead_letters SET event = ? WHERE number = ?",
        [(renamed_event(event, new), number) for number, event in letters],
    )
    if project is None:
        connection.execute(
            "UPDATE schemas SET collection = :new WHERE collection = :old AND NOT EXISTS"
            " (SELECT 1 FROM schemas AS s WHERE s.project = schemas.project AND s.collection = :new)",
            names,
        )
        create_indexes(connection, old, [])
    forget_texts(connection, new, project)
    for name in (old, new):
        index_anew(connection, name)
    connection.execute("UPDATE record SET value = ? WHERE name = 'epoch'", (token_hex(8),))
    entities, documents, quarantined = changed
    return Renamed(entities, documents, quarantined, len(letters))
