"""The SQLite schema, step by step. A database is migrated or refused, never guessed at.

The version is SQLite's ``user_version``; ``application_id`` marks the file as ours. A released step never changes: the
next version is another step.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from collab.storage.base import StorageCorrupt
from collab.storage.versions import check_known, check_newest

APPLICATION_ID = 0x4C436F6C  # "LCol"

STEPS: Sequence[str] = (
    # 1: documents, their log and snapshot, and set-aside entries. The log is clustered by document, so that loading
    # reads adjacent pages. ``set_aside`` names its document in full, because a frame may crash a worker before its
    # document exists.
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
    # 2: entities and their events, the history of documents, and declarations of applications.
    # ``keys`` is ``data`` with its timestamps in canonical form, NULL if that is the same. Event positions need no
    # AUTOINCREMENT: the newest event of an entity is never deleted, so the newest of all is there.
    # ``archive`` holds packed log rows that a snapshot replaced; its pieces have no gaps from the first row or from a
    # base on. ``bases`` holds earlier snapshots. ``uncovered`` lists documents whose log goes beyond the
    # ``content_seq`` of their entity, longest waiting first.
    """
    CREATE TABLE record (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
    INSERT INTO record VALUES ('epoch', lower(hex(randomblob(8))));
    INSERT INTO record VALUES ('oldest', 0);
    CREATE TABLE entities (
        eid INTEGER PRIMARY KEY,
        project TEXT NOT NULL,
        collection TEXT NOT NULL,
        id TEXT NOT NULL,
        version INTEGER NOT NULL,
        deleted INTEGER NOT NULL,
        data TEXT NOT NULL,
        keys TEXT,
        heads BLOB NOT NULL,
        content_seq INTEGER NOT NULL,
        created_at REAL NOT NULL,
        updated_at REAL NOT NULL,
        UNIQUE (project, collection, id)
    );
    CREATE TABLE events (
        position INTEGER PRIMARY KEY,
        eid INTEGER NOT NULL,
        version INTEGER NOT NULL,
        type TEXT NOT NULL,
        seq INTEGER NOT NULL,
        user_id TEXT,
        at REAL NOT NULL,
        data TEXT NOT NULL,
        changes TEXT NOT NULL,
        conflicts TEXT,
        UNIQUE (eid, version)
    );
    CREATE TABLE requests (
        number INTEGER PRIMARY KEY,
        project TEXT NOT NULL,
        request TEXT NOT NULL,
        eid INTEGER NOT NULL,
        version INTEGER NOT NULL,
        at REAL NOT NULL,
        UNIQUE (project, request)
    );
    CREATE INDEX requests_by_age ON requests (at);
    CREATE TABLE uncovered (number INTEGER PRIMARY KEY, rid INTEGER NOT NULL UNIQUE);
    INSERT INTO uncovered (rid) SELECT rid FROM documents
        WHERE EXISTS (SELECT 1 FROM log WHERE log.rid = documents.rid)
        OR EXISTS (SELECT 1 FROM snapshots WHERE snapshots.rid = documents.rid);
    CREATE TABLE archive (
        number INTEGER PRIMARY KEY,
        rid INTEGER NOT NULL,
        from_seq INTEGER NOT NULL,
        to_seq INTEGER NOT NULL,
        from_at REAL NOT NULL,
        to_at REAL NOT NULL,
        content BLOB NOT NULL,
        crc INTEGER NOT NULL,
        UNIQUE (rid, to_seq)
    );
    CREATE INDEX archive_by_age ON archive (rid, to_at);
    CREATE TABLE bases (
        rid INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        content BLOB NOT NULL,
        crc INTEGER NOT NULL,
        PRIMARY KEY (rid, seq)
    );
    CREATE TABLE schemas (
        project TEXT NOT NULL,
        collection TEXT NOT NULL,
        version INTEGER NOT NULL,
        content BLOB NOT NULL,
        PRIMARY KEY (project, collection)
    );
    CREATE TABLE webhooks (name TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE dead_letters (
        number INTEGER PRIMARY KEY,
        webhook TEXT NOT NULL,
        project TEXT NOT NULL,
        event TEXT NOT NULL,
        reason TEXT NOT NULL,
        at REAL NOT NULL
    );
    CREATE INDEX dead_letters_of ON dead_letters (webhook);
    """,
    # 3: the name of a write belongs to its caller and stands for its request: ``digest``, empty where it is unknown.
    # For earlier writes the caller comes from the event.
    """
    ALTER TABLE requests RENAME TO names;
    CREATE TABLE requests (
        number INTEGER PRIMARY KEY,
        project TEXT NOT NULL,
        caller TEXT NOT NULL,
        request TEXT NOT NULL,
        digest BLOB NOT NULL,
        eid INTEGER NOT NULL,
        version INTEGER NOT NULL,
        at REAL NOT NULL,
        UNIQUE (project, caller, request)
    );
    INSERT INTO requests
        SELECT n.number, n.project, coalesce('user:' || e.user_id, ''), n.request, x'', n.eid, n.version, n.at
        FROM names AS n LEFT JOIN events AS e ON e.eid = n.eid AND e.version = n.version;
    DROP TABLE names;
    CREATE INDEX requests_by_age ON requests (at);
    """,
    # 4: positions count per project. Events keep their positions, and every project continues after all of them
    # (``base``), so that no client's cursor and no webhook's progress changes its meaning. ``newest`` is at least the
    # last position assigned before an erasure. It was not known which projects' events a webhook had processed.
    """
    CREATE TABLE projects (
        project TEXT PRIMARY KEY,
        oldest INTEGER NOT NULL,
        newest INTEGER NOT NULL
    ) WITHOUT ROWID;
    INSERT INTO record SELECT 'base', max(
        (SELECT value FROM record WHERE name = 'oldest'),
        coalesce((SELECT value FROM record WHERE name = 'newest'), 0),
        coalesce((SELECT max(position) FROM events), 0));
    INSERT INTO projects SELECT DISTINCT project,
        (SELECT value FROM record WHERE name = 'oldest'), (SELECT value FROM record WHERE name = 'base') FROM entities;
    DELETE FROM record WHERE name IN ('oldest', 'newest');
    ALTER TABLE events RENAME TO stream;
    CREATE TABLE events (
        project TEXT NOT NULL,
        position INTEGER NOT NULL,
        eid INTEGER NOT NULL,
        version INTEGER NOT NULL,
        type TEXT NOT NULL,
        seq INTEGER NOT NULL,
        user_id TEXT,
        at REAL NOT NULL,
        data TEXT NOT NULL,
        changes TEXT NOT NULL,
        conflicts TEXT,
        PRIMARY KEY (project, position),
        UNIQUE (eid, version)
    );
    INSERT INTO events
        SELECT e.project, v.position, v.eid, v.version, v.type, v.seq, v.user_id, v.at, v.data, v.changes, v.conflicts
        FROM stream AS v CROSS JOIN entities AS e USING (eid) ORDER BY v.position;
    DROP TABLE stream;
    ALTER TABLE webhooks RENAME TO hooks;
    CREATE TABLE webhooks (
        name TEXT NOT NULL,
        project TEXT NOT NULL,
        position INTEGER NOT NULL,
        PRIMARY KEY (name, project)
    ) WITHOUT ROWID;
    INSERT INTO webhooks SELECT h.name, p.project, h.position FROM hooks AS h CROSS JOIN projects AS p;
    DROP TABLE hooks;
    """,
    # 5: what the newest commit of each writer was answered. ``number`` counts them by writer, ``id`` the writers.
    """
    CREATE TABLE receipts (
        id INTEGER PRIMARY KEY,
        writer TEXT NOT NULL UNIQUE,
        number INTEGER NOT NULL,
        answer BLOB NOT NULL
    );
    """,
    # 6: what is large is written and deleted in many transactions. The content of a large snapshot, and its gate, are
    # in ``parts``; a base takes over those of its snapshot. ``unfinished`` lists documents of which rows wait to be
    # moved or deleted: their log up to ``moved`` has been moved to the history, that behind it up to the snapshot has
    # not. ``erasing`` lists erased documents and entities of which there are still rows.
    """
    CREATE TABLE parts (
        bundle INTEGER NOT NULL,
        number INTEGER NOT NULL,
        rid INTEGER NOT NULL,
        content BLOB NOT NULL,
        UNIQUE (bundle, number)
    );
    CREATE INDEX parts_of ON parts (rid);
    ALTER TABLE snapshots ADD COLUMN bundle INTEGER;
    ALTER TABLE snapshots ADD COLUMN gate_bundle INTEGER;
    ALTER TABLE bases ADD COLUMN bundle INTEGER;
    CREATE TABLE unfinished (rid INTEGER PRIMARY KEY, moved INTEGER NOT NULL);
    CREATE TABLE erasing (
        number INTEGER PRIMARY KEY,
        rid INTEGER,
        eid INTEGER,
        project TEXT NOT NULL,
        collection TEXT NOT NULL,
        id TEXT NOT NULL
    );
    """,
    # 7: tokens that are refused before they expire.
    """
    CREATE TABLE revocations (
        project TEXT NOT NULL,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        issued_before REAL NOT NULL,
        kept_until REAL NOT NULL,
        PRIMARY KEY (project, kind, name)
    ) WITHOUT ROWID;
    """,
    # 8: full-text search. ``search_collections`` says what is searched, and up to which row the texts are stored (NULL:
    # of all rows). ``search_words`` finds the rows of ``search_texts`` by their words, which begin with ``scope``;
    # it holds no text itself.
    """
    CREATE TABLE search_collections (collection TEXT PRIMARY KEY, form TEXT NOT NULL, reached INTEGER) WITHOUT ROWID;
    CREATE TABLE search_texts (eid INTEGER PRIMARY KEY, scope TEXT NOT NULL, fields TEXT NOT NULL);
    CREATE VIRTUAL TABLE search_words USING fts5(words, content='', columnsize=0, detail=none, tokenize='ascii');
    """,
    # 9: full-text search in what documents say. ``search_unread`` lists entities whose contents are still to be read;
    # ``reading`` says whether they are of documents from before the contents of their collection were searched.
    """
    ALTER TABLE search_collections ADD COLUMN reading INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE search_texts ADD COLUMN contents TEXT NOT NULL DEFAULT '';
    CREATE TABLE search_unread (number INTEGER PRIMARY KEY, eid INTEGER NOT NULL UNIQUE);
    """,
)


def prepare(connection: sqlite3.Connection, steps: Sequence[str] = STEPS) -> None:
    """Migrate a database to the newest version, one transaction per step.

    ``connection`` is in autocommit mode. Raises :class:`StorageCorrupt` if the file is of a newer version or of another
    application; it stays untouched. Raises :class:`sqlite3.Error` if a step fails; the database then has the version
    before that step.
    """
    version = read_version(connection)
    check_known(version, len(steps))
    if not version:
        # both take effect only while the file is empty
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


def check(connection: sqlite3.Connection) -> None:
    """Raise unless the schema has the newest version: see :func:`collab.storage.versions.check_newest`."""
    check_newest(read_version(connection), len(STEPS))


def read_version(connection: sqlite3.Connection) -> int:
    """The version of the schema, 0 if the file is empty.

    Raises :class:`StorageCorrupt` if it belongs to another application.
    """
    version = _scalar(connection, "PRAGMA user_version")
    owner = _scalar(connection, "PRAGMA application_id")
    if owner != APPLICATION_ID and (owner or version or _scalar(connection, "SELECT count(*) FROM sqlite_master")):
        raise StorageCorrupt("the database file belongs to another application; it was not touched")
    return version


def _scalar(connection: sqlite3.Connection, sql: str) -> int:
    return int(connection.execute(sql).fetchone()[0])
