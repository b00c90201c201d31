"""The SQLite schema, step by step. A database is brought forward or refused, never guessed at.

The version is SQLite's ``user_version``; ``application_id`` marks the file as ours. A step, once released, is
never changed: the next version is one more step.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from collab.storage.base import StorageCorrupt

APPLICATION_ID = 0x4C436F6C  # "LCol"

STEPS: Sequence[str] = (
    # 1: documents, their log and snapshot, and what was set aside. The log is clustered by document, so that
    # loading reads neighbouring pages. ``set_aside`` names its document in full, because a frame may end a
    # worker before its document exists.
    """
    CREATE TABLE documents (
        rid INTEGER PRIMARY KEY,
        project TEXT NOT NULL,
        collection TEXT NOT NULL,
        id TEXT NOT NULL,
        lineage TEXT NOT NULL,
        created_at REAL NOT NULL,
        UNIQUE (project, collection, id)
    );
    CREATE TABLE log (
        rid INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        content BLOB NOT NULL,
        user_id TEXT,
        at REAL NOT NULL,
        crc INTEGER NOT NULL,
        PRIMARY KEY (rid, seq)
    ) WITHOUT ROWID;
    CREATE TABLE snapshots (
        rid INTEGER PRIMARY KEY,
        seq INTEGER NOT NULL,
        content BLOB NOT NULL,
        gate BLOB NOT NULL,
        crc INTEGER NOT NULL
    );
    CREATE TABLE set_aside (
        number INTEGER PRIMARY KEY,
        project TEXT NOT NULL,
        collection TEXT NOT NULL,
        id TEXT NOT NULL,
        seq INTEGER,
        content BLOB NOT NULL,
        reason TEXT NOT NULL,
        at REAL NOT NULL
    );
    CREATE INDEX set_aside_of ON set_aside (project, collection, id);
    """,
)


def prepare(connection: sqlite3.Connection, steps: Sequence[str] = STEPS) -> None:
    """Bring a database to the newest version, one transaction for each step.

    ``connection`` is in autocommit mode. Raises :class:`StorageCorrupt` if the file is of a newer version or
    of another application; it is untouched then. Raises :class:`sqlite3.Error` if a step fails; the database
    is at the version before that step then.
    """
    version = _scalar(connection, "PRAGMA user_version")
    owner = _scalar(connection, "PRAGMA application_id")
    if owner != APPLICATION_ID and (owner or version or _scalar(connection, "SELECT count(*) FROM sqlite_master")):
        raise StorageCorrupt("the database file belongs to another application; it was not touched")
    if version > len(steps):
        raise StorageCorrupt(
            f"the database has schema version {version}, this program knows {len(steps)}: "
            "it was written by a newer version and was not touched"
        )
    if not version:
        # both only take effect while the file is empty
        connection.execute("PRAGMA page_size = 4096")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    for number, step in enumerate(steps[version:], version + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in step.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _scalar(connection: sqlite3.Connection, sql: str) -> int:
    return int(connection.execute(sql).fetchone()[0])
