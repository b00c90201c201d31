"""A storage in memory, for tests and demonstrations. Nothing in it is durable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from time import time

from collab.access.revocations import Revocation
from collab.errors import NotFound
from collab.event import EntityEvent
from collab.names import RoomKey
from collab.query.aggregate import Aggregation, tally
from collab.query.include import KeysQuery
from collab.query.match import compile_where, select
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
from collab.storage.memory_nodes import NOBODY, MemoryNodes
from collab.storage.memory_record import MemoryRecord, copied, cut, rows_of
from collab.storage.nodes import Announced, Announcement, NodeRow, Opens
from collab.storage.releases import ASKED
from collab.storage.rules import DEAD_LETTERS, REQUEST_SECONDS, check_repeat


class MemoryStorage:
    """A :class:`collab.storage.nodes.NodeStorage` without a disk. Closing it loses nothing.

    ``record`` is what several nodes share; without it there is one, which is open from the beginning. ``opens``: see
    :data:`collab.storage.nodes.Opens`; other nodes reach this one at ``url``.
    ``history_seconds``: how long past states of documents are kept; ``None``: until :meth:`trim`, 0: not at all.
    ``clock`` returns seconds since the epoch.
    """

    def __init__(
        self,
        *,
        history_seconds: float | None = None,
        clock: Callable[[], float] = time,
        opens: Opens = "take over",
        record: MemoryRecord | None = None,
        url: str = "",
    ) -> None:
        self._url = url
        self._history_seconds = history_seconds
        self._clock = clock
        self._opens = opens
        self._record = record if record is not None else MemoryRecord()
        self._nid = self._record.nodes.enter(opens, clock(), url) if record is None else NOBODY

    async def open(self) -> None:
        """Become a node. Raises :class:`StorageError` if another one lives and is not to be replaced."""
        if self._record.nodes.is_dead(self._nid):
            self._nid = self._record.nodes.enter(self._opens, self._clock(), self._url)

    async def close(self) -> None:
        self._record.nodes.leave(self._nid)
        self._nid = NOBODY

    # nodes

    @property
    def nid(self) -> int:
        return self._nid

    async def nodes(self) -> Sequence[NodeRow]:
        return self._record.nodes.all()

    async def cluster_key(self) -> bytes:
        return self._record.nodes.key

    async def beat(self) -> None:
        self._fence().beat(self._nid)

    async def leave(self) -> None:
        self._record.nodes.leave(self._nid)

    async def declare_dead(self, nid: int, beats: int) -> bool:
        return self._fence().declare_dead(nid, beats)

    async def acquire(self, key: RoomKey) -> int:
        return self._fence().acquire(self._nid, key)

    async def owner(self, key: RoomKey) -> int | None:
        return self._record.nodes.owner(key)

    async def release(self, keys: Sequence[RoomKey]) -> None:
        self._fence().release(self._nid, keys)

    async def claim_jobs(self, names: Sequence[str]) -> Sequence[str]:
        return self._fence().claim_jobs(self._nid, names)

    async def release_jobs(self, names: Sequence[str]) -> None:
        self._fence().release_jobs(self._nid, names)

    async def announce(self, announcement: Announcement) -> int:
        return self._fence().announce(announcement, self._clock())

    async def announced(self) -> int:
        return self._record.nodes.announced

    async def announcements(self, after: int, limit: int = 1000) -> Sequence[Announced]:
        return self._record.nodes.announcements(after, limit)

    def _fence(self) -> MemoryNodes:
        """Everything that writes begins with this. Raises :class:`collab.storage.nodes.Fenced`."""
        self._record.nodes.fence(self._nid)
        return self._record.nodes

    # documents

    async def load(self, key: RoomKey) -> Record | None:
        aside = self._record.asides(key)
        document = self._record.documents.get(key)
        entity = await self.entity(key)
        if document is None:
            return Record(None, None, (), aside, entity) if aside or entity is not None else None
        return Record(document.lineage, document.snapshot, tuple(document.rows), aside, entity)

    async def commit(
        self, batch: Sequence[Append], facts: Sequence[Fact] = (), *, commit_id: CommitId | None = None
    ) -> Committed:
        """Append to logs, entities and events, once for each ``commit_id``.

        Raises :class:`ValueError` if versions would have a gap, or the writer has made a later commit.
        """
        self._fence()
        if commit_id is not None and commit_id.writer in self._record.receipts:
            number, answer = self._record.receipts[commit_id.writer]
            if number >= commit_id.number:
                return check_repeat(commit_id, number, answer)
        versions: dict[RoomKey, int] = {}
        for fact in facts:
            key = fact.entity.key
            known = self._record.entities.get(key)
            before = versions.get(key, known.row.version if known is not None else 0)
            if fact.entity.version != before + 1:
                raise ValueError(f"version {fact.entity.version} of {key} does not follow version {before}")
            versions[key] = before + 1
        seqs = [self._record.append(entry) for entry in batch]
        positions = [self._record.store(fact, seqs) for fact in facts]
        for key in dict.fromkeys([*(entry.key for entry in batch), *versions]):
            self._record.list_uncovered(key)
        committed = Committed(seqs, positions)
        if commit_id is not None:
            self._record.receipts[commit_id.writer] = (commit_id.number, committed)
        return committed

    async def create(self, append: Append) -> bool:
        self._fence()
        if append.key in self._record.documents:
            return False
        await MemoryStorage.commit(self, [append])
        return True

    async def replace_snapshot(self, key: RoomKey, snapshot: Snapshot) -> None:
        self._fence()
        document = self._record.documents.get(key)
        if document is None or document.seq < snapshot.seq:
            raise ValueError(f"{key} has no row {snapshot.seq}")
        old = document.snapshot
        if old is not None and old.seq > snapshot.seq:
            return
        moved = [row for row in document.rows if row.seq <= snapshot.seq]
        document.rows = document.rows[len(moved) :]
        document.snapshot = snapshot
        if self._history_seconds == 0:
            document.archive, document.bases, document.floor = [], [], snapshot.seq
        else:
            if old is not None and old.seq < snapshot.seq:
                document.bases.append(old)
            document.archive += moved
            if self._history_seconds and moved:
                cut(document, max(row.at for row in moved) - self._history_seconds, self._record.asides(key))
        self._record.list_uncovered(key)

    async def set_aside(self, entry: SetAside) -> None:
        self._fence()
        same = (entry.key, entry.seq, entry.update)
        if not any((kept.key, kept.seq, kept.update) == same for kept in self._record.set_aside):
            self._record.set_aside.append(entry)
        document = self._record.documents.get(entry.key)
        if document is not None:
            document.rows = [row for row in document.rows if row.seq != entry.seq]
            self._record.list_uncovered(entry.key)

    async def list_set_aside(self, project: str | None = None) -> Sequence[SetAside]:
        return [entry for entry in self._record.set_aside if project is None or entry.key.project == project]

    async def releases(self) -> Sequence[SetAside]:
        return [entry for entry in self._record.set_aside if entry.reason.endswith(ASKED)]

    async def erase(self, keys: Sequence[RoomKey]) -> None:
        self._fence()
        for key in keys:
            self._record.documents.pop(key, None)
            self._record.entities.pop(key, None)
            self._record.uncovered.pop(key, None)
            self._record.contents.pop(key, None)
            self._record.unread.pop(key, None)
        gone = set(keys)
        self._record.newest_at = await self.newest_at()
        for events in self._record.events.values():
            for position in [position for position, kept in events.items() if kept[1] in gone]:
                del events[position]
        for name, (done, at) in self._record.requests.items():
            if done.key in gone:
                self._record.requests[name] = done._replace(key=None, digest=b""), at
        self._record.set_aside = [entry for entry in self._record.set_aside if entry.key not in gone]
        for webhook, letters in self._record.dead.items():
            self._record.dead[webhook] = [
                letter
                for letter in letters
                if RoomKey(letter.project, letter.event.collection, letter.event.id) not in gone
            ]

    async def expired(self, before: float, limit: int) -> Sequence[RoomKey]:
        found = [
            key
            for key, entity in self._record.entities.items()
            if entity.row.deleted and entity.versions and entity.versions[-1][0] < before
        ]
        return found[:limit]

    async def uncovered(self, limit: int = 100) -> Sequence[RoomKey]:
        return list(self._record.uncovered)[:limit]

    async def cover(self, key: RoomKey, seq: int, contents: NewContents | None = None) -> None:
        self._fence()
        entity = self._record.entities.get(key)
        if entity is not None and entity.row.content_seq <= seq:
            entity.row = replace(entity.row, content_seq=seq)
            self._record.list_uncovered(key)
            if contents is not None:
                self._record.store_contents(key, contents)

    async def unread(self, limit: int = 100) -> Sequence[Unread]:
        return [Unread(key, self._record.entities[key].row.content_seq) for key in self._record.unread][:limit]

    async def save_contents(self, unread: Unread, contents: NewContents) -> None:
        self._fence()
        entity = self._record.entities.get(unread.key)
        if entity is not None and entity.row.content_seq == unread.seq and unread.key in self._record.unread:
            self._record.store_contents(unread.key, contents)

    async def end_reading(self) -> None:
        self._fence()
        self._record.reading &= {key.collection for key in self._record.unread}

    async def log_after(self, key: RoomKey, seq: int) -> Sequence[LogRow]:
        document = self._record.documents.get(key)
        return [] if document is None else [row for row in rows_of(document) if row.seq > seq]

    async def document_at(self, key: RoomKey, seq: int) -> Sequence[bytes]:
        if seq <= 0:
            return []
        document = self._record.documents.get(key)
        if document is None or seq > document.seq:
            raise NotFound("the document never had that log row")
        snapshots = [*document.bases, *([document.snapshot] if document.snapshot is not None else [])]
        base = max((one for one in snapshots if one.seq <= seq), key=lambda one: one.seq, default=None)
        start = base.seq if base is not None else 0
        if base is None and document.floor:
            raise NotFound("that version of the document is no longer stored")
        updates = [row.update for row in rows_of(document) if start < row.seq <= seq]
        return updates if base is None else [base.update, *updates]

    # entities

    async def entity(self, key: RoomKey) -> EntityRow | None:
        entity = self._record.entities.get(key)
        return None if entity is None else copied(entity.row)

    async def children(self, project: str, collection: str, prefix: str) -> Sequence[EntityRow]:
        return [
            copied(entity.row)
            for key, entity in sorted(self._record.entities.items())
            if key[:2] == (project, collection) and key.id.startswith(prefix)
        ]

    async def half_deleted(self, collection: str, inside: str, limit: int) -> Sequence[RoomKey]:
        living = {
            RoomKey(key.project, collection, key.id.partition(":")[0])
            for key, entity in self._record.entities.items()
            if key.collection == inside and not entity.row.deleted
        }
        return [
            key for key in sorted(living) if key in self._record.entities and self._record.entities[key].row.deleted
        ][:limit]

    async def find(self, project: str, collection: str, query: Query) -> FoundRows:
        rows = {row.key.id: row for row in self._record.searched(project, collection, query.search)}
        found = select([row.data for row in rows.values()], replace(query, search=None))
        return FoundRows([rows[data["id"]] for data in found], self._record.span(project).newest)

    async def find_each(self, project: str, collection: str, asked: KeysQuery) -> FoundEach:
        each = {key: (await self.find(project, collection, asked.of(key))).rows for key in asked.keys}
        found: dict[str, Sequence[EntityRow]] = {}
        most = asked.most
        for key, rows in each.items():
            found[key] = rows[:most]
            most -= len(found[key])
        return FoundEach(found, self._record.span(project).newest)

    async def find_contents(
        self, project: str, collection: str, ids: Sequence[str], paths: IndexPaths
    ) -> FoundContents:
        self._record.check_searched(collection, paths)
        wanted, contents = set(ids), self._record.contents
        rows = [row for row in self._record.living(project, collection) if row.key.id in wanted]
        found = {row.key.id: (row, contents.get(row.key, "")) for row in rows}
        return FoundContents(found, self._record.span(project).newest)

    async def count(self, project: str, collection: str, query: Query) -> int:
        rows = self._record.searched(project, collection, query.search)
        return len(select([row.data for row in rows], replace(query, search=None, limit=None, offset=0)))

    async def aggregate(self, project: str, collection: str, aggregation: Aggregation) -> FoundGroups:
        found = self._record.searched(project, collection, aggregation.search)
        rows = filter(compile_where(aggregation.where), (row.data for row in found))
        return FoundGroups(tally(rows, aggregation), self._record.span(project).newest)

    async def request(self, project: str, caller: str, name: str) -> Requested | None:
        found = self._record.requests.get((project, caller, name))
        return None if found is None else found[0]

    # events

    async def positions(self, projects: Sequence[str] | None = None) -> Positions:
        spans = self._record.spans
        listed = spans if projects is None else [project for project in projects if project in spans]
        return Positions(self._record.epoch, 0, {project: spans[project].newest for project in listed})

    async def span(self, project: str) -> Span:
        return self._record.span(project)

    async def newest_at(self) -> float:
        return max(
            self._record.newest_at, *(events[max(events)][0] for events in self._record.events.values() if events), 0.0
        )

    async def events(
        self, project: str, after: int, *, limit: int, collection: str | None = None, entity: str | None = None
    ) -> Sequence[EntityEvent]:
        found = [
            event
            for position, (_, key, event) in self._record.events.get(project, {}).items()
            if position > after and collection in (None, key.collection) and entity in (None, key.id)
        ]
        return found[:limit]

    async def history(self, key: RoomKey, *, before: int | None = None, limit: int = 50) -> Sequence[Version]:
        versions = [one for _, one in self._record.versions(key) if before is None or one.event.version < before]
        return versions[::-1][:limit]

    async def seq_at(self, key: RoomKey, *, version: int | None = None, at: float | None = None) -> tuple[int, Version]:
        found: Version | None = None
        for when, one in self._record.versions(key):
            if one.event.version == version if version is not None else at is None or when <= at:
                found = one
        if found is None:
            raise NotFound("there was no such version, or it is no longer stored")
        seq = found.seq
        document = self._record.documents.get(key)
        if document is not None and version is None and at is not None:
            seq = max([seq, *(row.seq for row in rows_of(document) if row.at <= at)])
        return seq, found

    async def trim(self, before: float) -> None:
        self._fence()
        for project, (oldest, newest) in self._record.spans.items():
            young = (
                position
                for position, kept in self._record.events[project].items()
                if position > oldest and kept[0] >= before
            )
            self._record.spans[project] = Span(next(young, newest + 1) - 1, newest)
        for key, entity in self._record.entities.items():
            old = [one for _, one in entity.versions if one.event.position <= self._record.span(key.project).oldest]
            for one in old[:-1]:
                del self._record.events[key.project][one.event.position]
            entity.versions = entity.versions[max(len(old) - 1, 0) :]
        day = max(before, self._clock() - REQUEST_SECONDS)
        self._record.requests = {name: kept for name, kept in self._record.requests.items() if kept[1] >= day}
        for key, document in self._record.documents.items():
            cut(document, before, self._record.asides(key))

    # declarations and webhooks

    async def index(self, collection: str, indexes: Sequence[IndexPaths]) -> None: ...

    async def searchable(self, collection: str, paths: IndexPaths) -> None:
        self._record.declare_search(collection, paths)

    async def schemas(self, project: str) -> dict[str, tuple[int, bytes]]:
        return {key[1]: schema for key, schema in sorted(self._record.schemas.items()) if key[0] == project}

    async def save_schema(self, project: str, collection: str, version: int, schema: bytes) -> None:
        self._fence()
        self._record.schemas[project, collection] = (version, schema)

    async def revoke(self, revocation: Revocation, now: float) -> None:
        self._fence()
        known = self._record.revocations
        name = (revocation.project, revocation.kind, revocation.name)
        known[name] = revocation.joined(known.get(name))
        for key in [key for key, one in known.items() if one.kept_until <= now]:
            del known[key]

    async def revocations(self, now: float) -> Sequence[Revocation]:
        return [one for one in self._record.revocations.values() if one.kept_until > now]

    async def webhook_position(self, webhook: str, project: str) -> int | None:
        return self._record.webhooks.get((webhook, project))

    async def save_webhook(self, webhook: str, project: str, position: int, dead: Sequence[DeadLetter] = ()) -> None:
        self._fence()
        self._record.webhooks[webhook, project] = position
        for letter in dead:
            kept = self._record.dead.setdefault(webhook, [])
            if not any((old.project, old.event) == (letter.project, letter.event) for old in kept):
                kept.append(letter)
                del kept[:-DEAD_LETTERS]

    async def dead_letters(self, webhook: str) -> Sequence[DeadLetter]:
        return list(self._record.dead.get(webhook, ()))
