"""The record in PostgreSQL (14 or newer), written by its nodes.

Nothing is acknowledged before the server has committed it. Documents are loaded on connections of their own and never
wait for commits, nor for queries. Every log row, snapshot and piece of history carries a CRC-32, verified whenever it
is read.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple
from time import time

import asyncpg

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
from collab.storage.nodes import ANNOUNCED_SECONDS, Announced, Announcement, NodeAddress, NodeRow, Opens
from collab.storage.postgres import archive, documents, entities, history, nodes
from collab.storage.postgres.aggregate import group_rows
from collab.storage.postgres.commit import commit_values
from collab.storage.postgres.database import PostgresDatabase, SearchDeclared, translated
from collab.storage.postgres.query import count_rows, create_indexes, find_contents, find_each, find_rows
from collab.storage.postgres.search import (
    contents_values,
    is_reading,
    list_left,
    list_unread,
    read_forms,
    read_some,
    text_values,
)
from collab.storage.postgres.together import Together
from collab.storage.postgres.values import checksum, plain, plain_or_none
from collab.storage.rules import DEAD_LETTERS, REQUEST_SECONDS
from collab.storage.search import (
    IndexingProgress,
    contents_path,
    contents_prefix,
    scope_of,
    stored_contents,
    write_form,
)

log = logging.getLogger(__name__)

_COMPRESSION = 4  # of zlib, as in SQLite
_WITH_CONTENT = (
    *("log", "snapshots", "archive", "bases", "set_aside"),
    *("events", "entities", "search_texts", "dead_letters"),
)
_SLICE = 1000  # requests, or documents, whose old parts are deleted per statement


class PostgresStorage:
    """A :class:`collab.storage.base.Storage` in the database at ``url``, in its schema ``collab``.

    ``url`` is what asyncpg takes, TLS parameters included. ``loads`` and ``queries`` bound the connections for reading.
    ``history_seconds``: how long documents can be read as they were, as far back as the newest snapshot at least that
    old; ``None``: until :meth:`trim`, 0: not at all. ``clock`` gives seconds since the epoch. ``opens``: see
    :data:`collab.storage.nodes.Opens`.
    """

    def __init__(
        self,
        url: str,
        *,
        loads: int = 4,
        queries: int = 4,
        history_seconds: float | None = None,
        clock: Callable[[], float] = time,
        opens: Opens = "take over",
        joining: NodeAddress | None = None,
    ) -> None:
        self._history_seconds = history_seconds
        self._forms: Mapping[str, str] | None = None  # what is searched, by collection
        self._clock = clock
        self._database = PostgresDatabase(url, loads=loads, queries=queries, opens=opens, joining=joining)
        self._heads = Together(self._read_heads)
        self._requests = Together(self._read_requests)

    async def open(self) -> None:
        """Create or migrate the schema, and become a node; or neither, to read.

        Raises :class:`collab.storage.base.StorageCorrupt` if the schema or the server is too old, too new or not ours,
        and :class:`collab.storage.base.StorageError` if the server cannot be reached or refuses, or another node lives
        and is not to be replaced.
        """
        await self._database.open()

    async def close(self) -> None:
        await self._database.close()

    # documents

    async def load(self, key: RoomKey) -> Record | None:
        """Load a document; ``None`` only if nothing was ever written under its name.

        Raises :class:`collab.errors.DocumentDamaged` if its snapshot does not match its checksum.
        """
        row = await self._heads.find(key)
        with translated():
            head = documents.head_of(row)
        if head.rid is None and not head.aside:  # as of all that are about to be created
            return documents.record_without_log(head, [])
        async with self._database.glance() as connection:
            record, damaged = await documents.load(connection, key)
        for entry in damaged:
            log.error("row %d of %s does not match its checksum and is set aside", entry.seq, key)
            await self.set_aside(entry)
        return record

    async def _read_heads(self, keys: Sequence[RoomKey]) -> Sequence[asyncpg.Record]:
        async with self._database.glance() as connection:
            return await documents.read_heads(connection, keys)

    async def commit(
        self, batch: Sequence[Append], facts: Sequence[Fact] = (), *, commit_id: CommitId | None = None
    ) -> Committed:
        """Append to logs, entities and events in one statement, once for each ``commit_id``; durable on return.

        Raises :class:`ValueError` if the versions of an entity would have a gap, or the writer has committed since.
        """
        if not batch and not facts and commit_id is None:
            return Committed([], [])
        values = commit_values(batch, facts, commit_id)
        if not facts:
            seqs, positions = await self._database.call("commit_1", *values)
            return Committed(seqs, positions)
        while True:
            forms = await self._search_forms()
            try:
                contents = contents_values(facts, forms)
                function, last = ("commit_2", ()) if contents is None else ("commit_3", contents)
                seqs, positions = await self._database.call(function, *values, *text_values(facts, forms), *last)
                return Committed(seqs, positions)
            except SearchDeclared:  # by another node
                self._forms = None

    async def _search_forms(self) -> Mapping[str, str]:
        if self._forms is None:
            async with self._database.glance() as connection:
                self._forms = await read_forms(connection)
        return self._forms

    async def create(self, append: Append) -> bool:
        seqs, _ = await self._database.call("commit_1", *commit_values([append], (), None, only_new=True))
        return seqs is not None

    async def replace_snapshot(self, key: RoomKey, snapshot: Snapshot) -> None:
        """Store ``snapshot`` and move the log up to ``snapshot.seq`` to the history, in one statement.

        Does nothing if there is a newer snapshot. Raises :class:`ValueError` if there is no such document or its log is
        not that long.
        """
        content = await asyncio.to_thread(zlib.compress, snapshot.update, _COMPRESSION)
        gate = await asyncio.to_thread(zlib.compress, snapshot.index, _COMPRESSION)
        keeps = self._history_seconds != 0
        done = False
        while not done:  # again if a row was set aside meanwhile
            packed = archive.NOTHING_PACKED
            if keeps:
                async with self._database.query() as connection:
                    packed = await archive.pack(connection, key, snapshot.seq)
                for entry in packed.damaged:
                    await self.set_aside(entry)
                if packed.damaged:
                    continue
            (done,) = await self._database.call(
                "snapshot_1",
                *key,
                snapshot.seq,
                content,
                checksum(content),
                gate,
                checksum(gate),
                keeps,
                packed.newest - self._history_seconds if self._history_seconds else None,
                packed.start,
                packed.count,
                [piece.from_seq for piece in packed.pieces],
                [piece.to_seq for piece in packed.pieces],
                [piece.from_at for piece in packed.pieces],
                [piece.to_at for piece in packed.pieces],
                [piece.content for piece in packed.pieces],
                [checksum(piece.content) for piece in packed.pieces],
            )

    async def set_aside(self, entry: SetAside) -> None:
        await self._database.call("set_aside_1", *entry.key, entry.seq, entry.update, plain(entry.reason), entry.at)

    async def list_set_aside(self, project: str | None = None) -> Sequence[SetAside]:
        async with self._database.query() as connection:
            return await documents.list_set_aside(connection, project)

    async def releases(self) -> Sequence[SetAside]:
        async with self._database.query() as connection:
            return await documents.list_releases(connection)

    async def uncovered(self, limit: int = 100) -> Sequence[RoomKey]:
        async with self._database.query() as connection:
            return await documents.list_uncovered(connection, limit)

    async def cover(self, key: RoomKey, seq: int, contents: NewContents | None = None) -> None:
        while contents is not None:
            form = (await self._search_forms()).get(key.collection, "")
            stored = stored_contents(form, contents)
            if stored is None:
                break
            try:
                await self._database.call("cover_3", *key, seq, form, scope_of(*key[:2]), plain_or_none(stored.text))
            except SearchDeclared:  # by another node
                self._forms = None
            else:
                return
        await self._database.call("cover_1", *key, seq)

    async def unread(self, limit: int = 100) -> Sequence[Unread]:
        async with self._database.query() as connection:
            return await list_unread(connection, limit)

    async def save_contents(self, unread: Unread, contents: NewContents) -> None:
        key, prefix = unread.key, contents_prefix(contents.path)
        text = plain_or_none(contents.text)
        await self._database.call("save_contents_3", *key, unread.seq, prefix, scope_of(*key[:2]), text)

    async def end_reading(self) -> None:
        async with self._database.glance() as connection:
            reading = await is_reading(connection)
        if reading:
            await self._database.call("end_reading_3")

    async def log_after(self, key: RoomKey, seq: int) -> Sequence[LogRow]:
        async with self._database.query() as connection:
            return await archive.read_log_after(connection, key, seq)

    async def document_at(self, key: RoomKey, seq: int) -> Sequence[bytes]:
        async with self._database.query() as connection:
            return await archive.read_document(connection, key, seq)

    # entities and events

    async def entity(self, key: RoomKey) -> EntityRow | None:
        async with self._database.glance() as connection:
            return await entities.read_entity(connection, key)

    async def children(self, project: str, collection: str, prefix: str) -> Sequence[EntityRow]:
        async with self._database.glance() as connection:
            return await entities.read_children(connection, project, collection, prefix)

    async def half_deleted(self, collection: str, inside: str, limit: int) -> Sequence[RoomKey]:
        async with self._database.query() as connection:
            return await entities.list_half_deleted(connection, collection, inside, limit)

    async def expired(self, before: float, limit: int) -> Sequence[RoomKey]:
        async with self._database.query() as connection:
            return await entities.list_expired(connection, before, limit)

    async def find(self, project: str, collection: str, query: Query) -> FoundRows:
        async with self._database.query() as connection:
            rows = await find_rows(connection, project, collection, query)
            return FoundRows(rows, (await history.read_span(connection, project)).newest)

    async def find_each(self, project: str, collection: str, asked: KeysQuery) -> FoundEach:
        async with self._database.query() as connection:
            rows = await find_each(connection, project, collection, asked)
            return FoundEach(rows, (await history.read_span(connection, project)).newest)

    async def find_contents(
        self, project: str, collection: str, ids: Sequence[str], paths: IndexPaths
    ) -> FoundContents:
        async with self._database.query() as connection:
            rows = await find_contents(connection, project, collection, ids, paths)
            return FoundContents(rows, (await history.read_span(connection, project)).newest)

    async def count(self, project: str, collection: str, query: Query) -> int:
        async with self._database.query() as connection:
            return await count_rows(connection, project, collection, query)

    async def aggregate(self, project: str, collection: str, aggregation: Aggregation) -> FoundGroups:
        async with self._database.query() as connection:
            groups = await group_rows(connection, project, collection, aggregation)
            return FoundGroups(groups, (await history.read_span(connection, project)).newest)

    async def index(self, collection: str, indexes: Sequence[IndexPaths]) -> None:
        """Have exactly these indexes of a collection for :meth:`find`; writes continue while they are built."""
        async with self._database.alone() as connection:
            await create_indexes(connection, collection, indexes)

    async def searchable(self, collection: str, paths: IndexPaths) -> None:
        """See :class:`collab.storage.base.Storage`. If another node declares something else meanwhile, that counts."""
        form = write_form(paths)
        path = contents_path(form)
        prefix = None if path is None else contents_prefix(path)
        (begun,) = await self._database.call("declare_search_3", collection, form, prefix)
        self._forms = None
        if not begun:
            return
        async with self._database.query() as connection:
            left = await list_left(connection, collection)
        progress = IndexingProgress(collection, len(left))
        while True:
            async with self._database.query() as connection:
                some = await read_some(connection, left, form)
            (ours,) = await self._database.call("index_some_3", collection, form, *some[:-1], path is None)
            left = left[some.taken :]
            if some.taken:
                progress.reached(len(left))
            if not ours or not left:
                return

    async def request(self, project: str, caller: str, name: str) -> Requested | None:
        return await self._requests.find((project, caller, name))

    async def _read_requests(self, requests: Sequence[tuple[str, str, str]]) -> Sequence[Requested | None]:
        async with self._database.glance() as connection:
            return await entities.read_requests(connection, requests)

    async def schemas(self, project: str) -> dict[str, tuple[int, bytes]]:
        async with self._database.glance() as connection:
            return await entities.read_schemas(connection, project)

    async def save_schema(self, project: str, collection: str, version: int, schema: bytes) -> None:
        await self._database.call("save_schema_1", project, collection, version, schema)

    async def revoke(self, revocation: Revocation, now: float) -> None:
        await self._database.call("revoke_1", *astuple(revocation), now)

    async def revocations(self, now: float) -> Sequence[Revocation]:
        async with self._database.glance() as connection:
            return await entities.read_revocations(connection, now)

    async def positions(self, projects: Sequence[str] | None = None) -> Positions:
        async with self._database.load() as connection:
            return await history.read_positions(connection, projects)

    async def span(self, project: str) -> Span:
        async with self._database.load() as connection:
            return await history.read_span(connection, project)

    async def newest_at(self) -> float:
        async with self._database.glance() as connection:
            return await history.read_newest_at(connection)

    async def events(
        self, project: str, after: int, *, limit: int, collection: str | None = None, entity: str | None = None
    ) -> Sequence[EntityEvent]:
        async with self._database.query() as connection:
            return await history.read_events(connection, project, after, limit, collection, entity)

    async def history(self, key: RoomKey, *, before: int | None = None, limit: int = 50) -> Sequence[Version]:
        async with self._database.query() as connection:
            return await history.read_history(connection, key, before, limit)

    async def seq_at(self, key: RoomKey, *, version: int | None = None, at: float | None = None) -> tuple[int, Version]:
        """The log row of an entity's version, or of its state at a time, and its newest event then.

        Without either: the newest version. Raises :class:`collab.errors.NotFound` if there was none, or it is no longer
        stored.
        """
        async with self._database.query() as connection:
            found = await history.read_version(connection, key, version=version, at=at)
            if version is not None or at is None:
                return found.seq, found
            return max(found.seq, await archive.last_at(connection, key, at)), found

    # consumers

    async def webhook_position(self, webhook: str, project: str) -> int | None:
        async with self._database.glance() as connection:
            return await entities.read_webhook(connection, webhook, project)

    async def save_webhook(self, webhook: str, project: str, position: int, dead: Sequence[DeadLetter] = ()) -> None:
        await self._database.call(
            "save_webhook_1", webhook, project, position, DEAD_LETTERS, *entities.dead_letter_values(dead)
        )

    async def dead_letters(self, webhook: str) -> Sequence[DeadLetter]:
        async with self._database.query() as connection:
            return await entities.read_dead_letters(connection, webhook)

    # nodes

    @property
    def nid(self) -> int:
        return self._database.nid

    async def beat(self) -> None:
        await self._database.call("beat_1", pool="beat")

    async def nodes(self) -> Sequence[NodeRow]:
        async with self._database.glance() as connection:
            return await nodes.read_nodes(connection)

    async def leave(self) -> None:
        await self._database.call("leave_1")

    async def cluster_key(self) -> bytes:
        async with self._database.glance() as connection:
            return await nodes.read_cluster_key(connection)

    async def declare_dead(self, nid: int, beats: int) -> bool:
        (done,) = await self._database.call("declare_dead_1", nid, beats)
        return bool(done)

    async def acquire(self, key: RoomKey) -> int:
        (owner,) = await self._database.call("acquire_1", *key, pool="load")
        return int(owner)

    async def owner(self, key: RoomKey) -> int | None:
        async with self._database.glance() as connection:
            return await nodes.read_owner(connection, key)

    async def release(self, keys: Sequence[RoomKey]) -> None:
        await self._database.call("release_1", *_columns(keys))

    async def claim_jobs(self, names: Sequence[str]) -> Sequence[str]:
        (owned,) = await self._database.call("claim_jobs_1", list(names), pool="load")
        return [str(name) for name in owned]

    async def release_jobs(self, names: Sequence[str]) -> None:
        await self._database.call("release_jobs_1", list(names), pool="load")

    async def announce(self, announcement: Announcement) -> int:
        body = nodes.write_body(announcement)
        (number,) = await self._database.call(
            "announce_1", announcement.project, announcement.kind, body, ANNOUNCED_SECONDS, pool="load"
        )
        return int(number)

    async def announced(self) -> int:
        async with self._database.glance() as connection:
            return await nodes.read_announced(connection)

    async def announcements(self, after: int, limit: int = 1000) -> Sequence[Announced]:
        async with self._database.glance() as connection:
            return await nodes.read_announcements(connection, after, limit)

    # all parts

    async def trim(self, before: float) -> None:
        """Delete events, history of documents, and named requests (these after a day) from before this time.

        The newest event of each entity before then stays, and so does the state of the newest snapshot of each document
        before then. Works in small steps, so that commits go in between.
        """
        async with self._database.query() as connection:
            cuts = await history.read_cuts(connection, before)
        for project, cut in cuts:
            while (await self._database.call("trim_events_1", project, cut))[0]:
                pass
        day = max(before, self._clock() - REQUEST_SECONDS)
        while (await self._database.call("trim_requests_1", day, _SLICE))[0]:
            pass
        rid: int | None = 0
        while rid is not None:
            (rid,) = await self._database.call("trim_history_1", rid, before, _SLICE)

    async def erase(self, keys: Sequence[RoomKey]) -> None:
        """Forget entities and their documents for good, and have the tables vacuumed.

        Nothing of them can be read by SQL when this returns, nor from the planner's statistics, which are taken anew
        (PostgreSQL keeps those of a table that is empty now). The server overwrites their bytes in its files, and in
        its WAL, as it uses them again.
        """
        await self._database.call("erase_1", *_columns(keys))
        await self._vacuum("VACUUM (ANALYZE)")

    async def compact(self) -> None:
        """Rewrite the tables (VACUUM FULL), so that their files hold no old data. Takes long; everything else waits."""
        await self._vacuum("VACUUM FULL")

    async def _vacuum(self, command: str) -> None:
        async with self._database.alone() as connection:
            for table in _WITH_CONTENT:
                await connection.execute(f"{command} collab.{table}")


def _columns(keys: Sequence[RoomKey]) -> Sequence[Sequence[str]]:
    """Projects, collections and ids."""
    return [list(part) for part in zip(*keys, strict=True)] if keys else ([], [], [])
