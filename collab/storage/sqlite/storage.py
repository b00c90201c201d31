"""The record in one SQLite file: WAL, ``synchronous=FULL``, one thread that writes and two that read.

Nothing is acknowledged before SQLite has synced it. Documents are loaded over their own connection, so that loads never
wait for commits, nor for queries, which have another. Every log row, snapshot and piece of history has a CRC-32, which
is verified on every read.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from time import time

from collab.access.revocations import Revocation
from collab.event import EntityEvent
from collab.names import RoomKey
from collab.query.aggregate import Aggregation
from collab.query.include import KeysQuery
from collab.query.query import IndexPaths, Query
from collab.storage.base import (
    Append,
    CommitId,
    Committed,
    DeadLetter,
    EntityRow,
    Fact,
    FoundContents,
    FoundEach,
    FoundGroups,
    FoundRows,
    LogRow,
    NewContents,
    Positions,
    Record,
    Requested,
    SetAside,
    Snapshot,
    Span,
    Unread,
    Version,
)
from collab.storage.releases import ASKED
from collab.storage.rules import DEAD_LETTERS
from collab.storage.search import IndexingProgress
from collab.storage.sqlite import archive, documents, entities, history, positions
from collab.storage.sqlite.aggregate import group_rows
from collab.storage.sqlite.commit import Appender
from collab.storage.sqlite.database import Database
from collab.storage.sqlite.erase import list_expired
from collab.storage.sqlite.query import count_rows, create_indexes, find_contents, find_each, find_rows
from collab.storage.sqlite.search import end_reading, is_reading, list_left, list_unread, save_contents
from collab.storage.sqlite.statements import moment
from collab.storage.sqlite.upkeep import Upkeep

log = logging.getLogger(__name__)


class SqliteStorage:
    """A :class:`collab.storage.base.Storage` in the folder ``data``, for one process at a time.

    ``lock_seconds``: how long to wait at start for another process to release the folder. ``history_seconds``: how long
    past states of documents are kept, at least back to the newest snapshot of that age; ``None``: until :meth:`trim`,
    0: not at all. ``clock`` returns seconds since the epoch.
    """

    def __init__(
        self,
        data: Path,
        *,
        lock_seconds: float = 5.0,
        history_seconds: float | None = None,
        clock: Callable[[], float] = time,
    ) -> None:
        self._appender = Appender()
        self._database = Database(data, lock_seconds=lock_seconds, rolled_back=self._appender.forget)
        self._upkeep = Upkeep(self._database, self._appender, history_seconds=history_seconds, clock=clock)
        self._change, self._load, self._query = self._database.change, self._database.load, self._database.query

    @property
    def path(self) -> Path:
        """The database file. Its WAL and a lock file are beside it."""
        return self._database.path

    @property
    def trimming(self) -> bool:
        """Whether disk space is being returned."""
        return self._database.trimming

    async def open(self) -> None:
        """Create or migrate the database.

        Raises :class:`collab.storage.base.StorageCorrupt` if it is of a newer version, of another application, or
        damaged, and :class:`collab.storage.base.StorageError` if another process uses the folder or the disk fails.
        """
        await self._database.open()
        self._upkeep.start()

    async def close(self) -> None:
        await self._upkeep.stop()
        await self._database.close()

    # documents

    async def load(self, key: RoomKey) -> Record | None:
        """Load a document; ``None`` only if nothing was ever written under its name.

        Raises :class:`collab.errors.DocumentDamaged` if its snapshot does not match its checksum: the rows that it
        replaced are gone, so there is nothing else to open it from.
        """
        found = await self._load(lambda connection: documents.load_small(connection, key))
        if found is None:
            found = await self._database.load_large(lambda connection: documents.load(connection, key))
        record, damaged = found
        for row in damaged:
            log.error("row %d of %s does not match its checksum and is quarantined", row.seq, key)
            await self._change(partial(self._set_aside, entry=row))
        return record

    async def commit(
        self, batch: Sequence[Append], facts: Sequence[Fact] = (), *, commit_id: CommitId | None = None
    ) -> Committed:
        """Append to logs, entities and events in one transaction, once for each ``commit_id``; durable on return.

        Raises :class:`ValueError` if the versions of an entity would have a gap, or the writer has committed since.
        """
        return await self._change(lambda connection: self._appender.commit(connection, batch, facts, commit_id))

    async def create(self, append: Append) -> bool:
        return await self._change(lambda connection: self._create(connection, append))

    async def replace_snapshot(self, key: RoomKey, snapshot: Snapshot) -> None:
        """Store ``snapshot`` in place of the log up to ``snapshot.seq``, and move that to the history.

        Does nothing if there is a newer snapshot. Raises :class:`ValueError` if there is no such document or its log is
        not that long. The disk space is returned a little later.
        """
        await self._upkeep.replace_snapshot(key, snapshot)

    async def set_aside(self, entry: SetAside) -> None:
        await self._change(partial(self._set_aside, entry=entry))

    async def list_set_aside(self, project: str | None = None) -> Sequence[SetAside]:
        where, values = ("", ()) if project is None else ("WHERE project = ?", (project,))
        return await self._query(lambda connection: documents.read_set_aside(connection, where, values))

    async def releases(self) -> Sequence[SetAside]:
        where, values = "WHERE reason LIKE ?", (f"%{ASKED}",)
        return await self._query(lambda connection: documents.read_set_aside(connection, where, values))

    async def erase(self, keys: Sequence[RoomKey]) -> None:
        """Delete entities and their documents for good; their bytes are overwritten, in the WAL too."""
        await self._upkeep.erase(keys)

    async def expired(self, before: float, limit: int) -> Sequence[RoomKey]:
        return await self._query(lambda connection: list_expired(connection, before, limit))

    async def compact(self) -> None:
        """Rewrite the whole file, so that no page holds old data. Takes long; commits wait."""
        await self._database.rewrite()

    async def uncovered(self, limit: int = 100) -> Sequence[RoomKey]:
        return await self._query(lambda connection: documents.list_uncovered(connection, limit))

    async def cover(self, key: RoomKey, seq: int, contents: NewContents | None = None) -> None:
        await self._change(lambda connection: self._appender.cover(connection, key, seq, contents))

    async def unread(self, limit: int = 100) -> Sequence[Unread]:
        return await self._query(lambda connection: list_unread(connection, limit))

    async def save_contents(self, unread: Unread, contents: NewContents) -> None:
        await self._change(lambda connection: save_contents(connection, unread, contents))

    async def end_reading(self) -> None:
        if await self._query(is_reading):
            await self._change(end_reading)

    async def log_after(self, key: RoomKey, seq: int) -> Sequence[LogRow]:
        return await self._query(lambda connection: archive.read_log_after(connection, key, seq))

    async def document_at(self, key: RoomKey, seq: int) -> Sequence[bytes]:
        return await self._query(lambda connection: archive.read_document(connection, key, seq))

    # entities

    async def entity(self, key: RoomKey) -> EntityRow | None:
        return await self._load(lambda connection: entities.read_entity(connection, key))

    async def children(self, project: str, collection: str, prefix: str) -> Sequence[EntityRow]:
        return await self._database.load_large(
            lambda connection: entities.read_children(connection, project, collection, prefix)
        )

    async def half_deleted(self, collection: str, inside: str, limit: int) -> Sequence[RoomKey]:
        return await self._query(lambda connection: entities.list_half_deleted(connection, collection, inside, limit))

    async def find(self, project: str, collection: str, query: Query) -> FoundRows:
        def find(connection: sqlite3.Connection) -> FoundRows:
            with moment(connection):
                rows = find_rows(connection, project, collection, query)
                return FoundRows(rows, positions.read_span(connection, project).newest)

        return await self._query(find)

    async def find_each(self, project: str, collection: str, asked: KeysQuery) -> FoundEach:
        def find(connection: sqlite3.Connection) -> FoundEach:
            with moment(connection):
                rows = find_each(connection, project, collection, asked)
                return FoundEach(rows, positions.read_span(connection, project).newest)

        return await self._query(find)

    async def find_contents(
        self, project: str, collection: str, ids: Sequence[str], paths: IndexPaths
    ) -> FoundContents:
        def find(connection: sqlite3.Connection) -> FoundContents:
            with moment(connection):
                rows = find_contents(connection, project, collection, ids, paths)
                return FoundContents(rows, positions.read_span(connection, project).newest)

        return await self._query(find)

    async def count(self, project: str, collection: str, query: Query) -> int:
        def count(connection: sqlite3.Connection) -> int:
            with moment(connection):
                return count_rows(connection, project, collection, query)

        return await self._query(count)

    async def aggregate(self, project: str, collection: str, aggregation: Aggregation) -> FoundGroups:
        def aggregate(connection: sqlite3.Connection) -> FoundGroups:
            with moment(connection):
                groups = group_rows(connection, project, collection, aggregation)
                return FoundGroups(groups, positions.read_span(connection, project).newest)

        return await self._query(aggregate)

    async def request(self, project: str, caller: str, name: str) -> Requested | None:
        return await self._load(lambda connection: entities.read_request(connection, project, caller, name))

    # events

    async def positions(self, projects: Sequence[str] | None = None) -> Positions:
        return await self._load(lambda connection: positions.read_positions(connection, projects))

    async def span(self, project: str) -> Span:
        return await self._load(lambda connection: positions.read_span(connection, project))

    async def newest_at(self) -> float:
        return await self._load(positions.read_newest_at)

    async def events(
        self, project: str, after: int, *, limit: int, collection: str | None = None, entity: str | None = None
    ) -> Sequence[EntityEvent]:
        return await self._query(
            lambda connection: history.read_events(connection, project, after, limit, collection, entity)
        )

    async def history(self, key: RoomKey, *, before: int | None = None, limit: int = 50) -> Sequence[Version]:
        return await self._query(lambda connection: history.read_history(connection, key, before, limit))

    async def seq_at(self, key: RoomKey, *, version: int | None = None, at: float | None = None) -> tuple[int, Version]:
        """The log row of an entity's version, or of its state at a time, and its newest event then.

        Without either: the newest version. Raises :class:`collab.errors.NotFound` if there was none, or it is no longer
        stored.
        """

        def seq_at(connection: sqlite3.Connection) -> tuple[int, Version]:
            with moment(connection):
                found = history.read_version(connection, key, version=version, at=at)
                if version is not None or at is None:
                    return found.seq, found
                return max(found.seq, archive.last_at(connection, key, at)), found

        return await self._query(seq_at)

    async def trim(self, before: float) -> None:
        """Delete events, history of documents, and named requests (these after a day) from before this time.

        The newest event of each entity before then stays, and so does the state of the newest snapshot of each document
        before then. Works in small steps, so that commits go in between.
        """
        await self._upkeep.trim(before)

    # declarations and webhooks

    async def index(self, collection: str, indexes: Sequence[IndexPaths]) -> None:
        await self._change(lambda connection: create_indexes(connection, collection, indexes))

    async def searchable(self, collection: str, paths: IndexPaths) -> None:
        texts = self._appender.search
        if not await self._change(lambda connection: texts.begin(connection, collection, paths)):
            return
        left = await self._query(lambda connection: list_left(connection, collection))
        progress = IndexingProgress(collection, len(left))
        while left:
            count = await self._change(partial(texts.index_some, collection=collection, eids=left))
            left = left[count:]
            progress.reached(len(left))
        await self._change(lambda connection: texts.end(connection, collection))

    async def schemas(self, project: str) -> dict[str, tuple[int, bytes]]:
        return await self._load(lambda connection: entities.read_schemas(connection, project))

    async def save_schema(self, project: str, collection: str, version: int, schema: bytes) -> None:
        await self._change(lambda connection: entities.write_schema(connection, project, collection, version, schema))

    async def revoke(self, revocation: Revocation, now: float) -> None:
        await self._change(lambda connection: entities.write_revocation(connection, revocation, now))

    async def revocations(self, now: float) -> Sequence[Revocation]:
        return await self._load(lambda connection: entities.read_revocations(connection, now))

    async def webhook_position(self, webhook: str, project: str) -> int | None:
        return await self._load(lambda connection: entities.read_webhook(connection, webhook, project))

    async def save_webhook(self, webhook: str, project: str, position: int, dead: Sequence[DeadLetter] = ()) -> None:
        await self._change(
            lambda connection: entities.write_webhook(connection, webhook, project, position, dead, DEAD_LETTERS)
        )

    async def dead_letters(self, webhook: str) -> Sequence[DeadLetter]:
        return await self._query(lambda connection: entities.read_dead_letters(connection, webhook))

    # in the writing thread, inside a transaction

    def _create(self, connection: sqlite3.Connection, append: Append) -> bool:
        if self._appender.tail(connection, append.key).rid:
            return False
        self._appender.commit(connection, [append], ())
        return True

    def _set_aside(self, connection: sqlite3.Connection, entry: SetAside) -> None:
        documents.write_set_aside(connection, entry)
        self._appender.refresh(connection, entry.key)
