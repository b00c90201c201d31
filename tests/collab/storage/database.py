"""SQLite databases for tests: a storage, direct access to its file, and an old database."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

from collab.storage.sqlite.storage import SqliteStorage

# A database as version 1 writes it. Never to be changed: what was once written must always open.
VERSION_1 = """
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA journal_mode = WAL;
CREATE TABLE documents (
    rid INTEGER PRIMARY KEY, project TEXT NOT NULL, collection TEXT NOT NULL, id TEXT NOT NULL,
    lineage TEXT NOT NULL, created_at REAL NOT NULL, UNIQUE (project, collection, id)
);
CREATE TABLE log (
    rid INTEGER NOT NULL, seq INTEGER NOT NULL, content BLOB NOT NULL, user_id TEXT, at REAL NOT NULL,
    crc INTEGER NOT NULL, PRIMARY KEY (rid, seq)
) WITHOUT ROWID;
CREATE TABLE snapshots (
    rid INTEGER PRIMARY KEY, seq INTEGER NOT NULL, content BLOB NOT NULL, gate BLOB NOT NULL,
    crc INTEGER NOT NULL
);
CREATE TABLE set_aside (
    number INTEGER PRIMARY KEY, project TEXT NOT NULL, collection TEXT NOT NULL, id TEXT NOT NULL, seq INTEGER,
    content BLOB NOT NULL, reason TEXT NOT NULL, at REAL NOT NULL
);
CREATE INDEX set_aside_of ON set_aside (project, collection, id);
INSERT INTO documents VALUES (1, 'acme', 'documents', 'doc_123', '00112233445566aa', 1700000000.5);
INSERT INTO snapshots VALUES (1, 2, x'785e2b2e492c49050006840222', x'785ecbcc4b49ad000006380219', 1885151359);
INSERT INTO log VALUES (1, 3, x'0203ff', 'ada', 1700000001.25, 2054224994);
INSERT INTO log VALUES (1, 4, x'', NULL, 1700000000.0, 2654435765);
INSERT INTO set_aside VALUES (1, 'acme', 'documents', 'doc_123', NULL, x'010002', 'ended a worker', 5.0);
PRAGMA application_id = 1279487852;
PRAGMA user_version = 1;
"""


@asynccontextmanager
async def opened(where: Path, history_seconds: float | None = None) -> AsyncIterator[SqliteStorage]:
    storage = SqliteStorage(where, lock_seconds=0.1, history_seconds=history_seconds)
    await storage.open()
    try:
        yield storage
    finally:
        await storage.close()


def raw(where: Path) -> closing[sqlite3.Connection]:
    """A direct connection to the database file."""
    return closing(sqlite3.connect(where / "collab.db", isolation_level=None, timeout=0.1))


def bytes_on_disk(where: Path) -> int:
    return sum(path.stat().st_size for path in where.iterdir())
