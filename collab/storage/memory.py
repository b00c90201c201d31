"""A storage in memory, for tests and demonstrations. Nothing in it is durable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from secrets import token_hex
from time import time

import msgspec

from collab.dates import iso_micros
from collab.errors import NotFound
from collab.event import EntityEvent
from collab.names import RoomKey
from collab.query.match import select
from collab.query.query import IndexPaths, Query
from collab.storage.base import (
    Append,
    CommitId,
    Committed,
    DeadLetter,
    EntityRow,
    Fact,
    FoundRows,
    LogRow,
    Positions,
    Record,
    Requested,
    SetAside,
    Snapshot,
    Span,
    Version,
)
from collab.storage.codec import event_from, from_json, to_json
from collab.storage.rules import DEAD_LETTERS, REQUEST_SECONDS, check_repeat, reach_of


@dataclass(slots=True)
class _Document:
    """``rows`` are those after the snapshot, ``archive`` those up to it but after row ``floor``.

    ``bases`` are the earlier snapshots from ``floor`` on.
    """

    lineage: str
    seq: int = 0
    snapshot: Snapshot | None = None
    rows: list[LogRow] = field(default_factory=list)
    archive: list[LogRow] = field(default_factory=list)
    bases: list[Snapshot] = field(default_factory=list)
    floor: int = 0

    @property
    def live(self) -> int:
        return self.rows[-1].seq if self.rows else self.snapshot.seq if self.snapshot is not None else 0


@dataclass(slots=True)
class _Entity:
    row: EntityRow
    versions: list[tuple[float, Version]] = field(default_factory=list)  # those that are kept


class MemoryStorage:
    """A :class:`collab.storage.base.Storage` without a disk. Closing it loses nothing.

    ``history_seconds``: how long past states of documents are kept; ``None``: until :meth:`trim`, 0: not at all.
    ``clock`` returns seconds since the epoch.
    """

    def __init__(self, *, history_seconds: float | None = None, clock: Callable[[], float] = time) -> None:
        self._history_seconds = history_seconds
        self._clock = clock
        self._documents: dict[RoomKey, _Document] = {}
        self._set_aside: list[SetAside] = []
        self._entities: dict[RoomKey, _Entity] = {}
        self._events: dict[str, dict[int, tuple[float, RoomKey, EntityEvent]]] = {}  # by project and position
        self._spans: dict[str, Span] = {}
        self._epoch = token_hex(8)
        self._newest_at = 0.0  # of erased events
        self._receipts: dict[str, tuple[int, Committed]] = {}  # by writer
        self._uncovered: dict[RoomKey, None] = {}
        self._requests: dict[tuple[str, str, str], tuple[Requested, float]] = {}
        self._schemas: dict[tuple[str, str], tuple[int, bytes]] = {}
        self._webhooks: dict[tuple[str, str], int] = {}
        self._dead: dict[str, list[DeadLetter]] = {}

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    # documents

    async def load(self, key: RoomKey) -> Record | None:
        aside = self._asides(key)
        document = self._documents.get(key)
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
        if commit_id is not None and commit_id.writer in self._receipts:
            number, answer = self._receipts[commit_id.writer]
            if number >= commit_id.number:
                return check_repeat(commit_id, number, answer)
        versions: dict[RoomKey, int] = {}
        for fact in facts:
            key = fact.entity.key
            known = self._entities.get(key)
            before = versions.get(key, known.row.version if known is not None else 0)
            if fact.entity.version != before + 1:
                raise ValueError(f"version {fact.entity.version} of {key} does not follow version {before}")
            versions[key] = before + 1
        seqs = [self._append(entry) for entry in batch]
        positions = [self._record(fact, seqs) for fact in facts]
        for key in dict.fromkeys([*(entry.key for entry in batch), *versions]):
            self._list_uncovered(key)
        committed = Committed(seqs, positions)
        if commit_id is not None:
            self._receipts[commit_id.writer] = (commit_id.number, committed)
        return committed

    async def create(self, append: Append) -> bool:
        if append.key in self._documents:
            return False
        await MemoryStorage.commit(self, [append])
        return True

    async def replace_snapshot(self, key: RoomKey, snapshot: Snapshot) -> None:
        document = self._documents.get(key)
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
                _cut(document, max(row.at for row in moved) - self._history_seconds, self._asides(key))
        self._list_uncovered(key)

    def _asides(self, key: RoomKey) -> list[SetAside]:
        return [entry for entry in self._set_aside if entry.key == key]

    async def set_aside(self, entry: SetAside) -> None:
        same = (entry.key, entry.seq, entry.update)
        if not any((kept.key, kept.seq, kept.update) == same for kept in self._set_aside):
            self._set_aside.append(entry)
        document = self._documents.get(entry.key)
        if document is not None:
            document.rows = [row for row in document.rows if row.seq != entry.seq]
            self._list_uncovered(entry.key)

    async def list_set_aside(self, project: str | None = None) -> Sequence[SetAside]:
        return [entry for entry in self._set_aside if project is None or entry.key.project == project]

    async def erase(self, keys: Sequence[RoomKey]) -> None:
        for key in keys:
            self._documents.pop(key, None)
            self._entities.pop(key, None)
            self._uncovered.pop(key, None)
        gone = set(keys)
        self._newest_at = await self.newest_at()
        for events in self._events.values():
            for position in [position for position, kept in events.items() if kept[1] in gone]:
                del events[position]
        self._requests = {name: kept for name, kept in self._requests.items() if kept[0].key not in gone}
        self._set_aside = [entry for entry in self._set_aside if entry.key not in gone]
        for webhook, letters in self._dead.items():
            self._dead[webhook] = [
                letter
                for letter in letters
                if RoomKey(letter.project, letter.event.collection, letter.event.id) not in gone
            ]

    async def expired(self, before: float, limit: int) -> Sequence[RoomKey]:
        found = [
            key
            for key, entity in self._entities.items()
            if entity.row.deleted and entity.versions and entity.versions[-1][0] < before
        ]
        return found[:limit]

    async def uncovered(self, limit: int = 100) -> Sequence[RoomKey]:
        return list(self._uncovered)[:limit]

    async def cover(self, key: RoomKey, seq: int) -> None:
        entity = self._entities.get(key)
        if entity is not None and entity.row.content_seq < seq:
            entity.row = replace(entity.row, content_seq=seq)
            self._list_uncovered(key)

    async def log_after(self, key: RoomKey, seq: int) -> Sequence[LogRow]:
        document = self._documents.get(key)
        return [] if document is None else [row for row in _rows(document) if row.seq > seq]

    async def document_at(self, key: RoomKey, seq: int) -> Sequence[bytes]:
        if seq <= 0:
            return []
        document = self._documents.get(key)
        if document is None or seq > document.seq:
            raise NotFound("the document never had that log row")
        snapshots = [*document.bases, *([document.snapshot] if document.snapshot is not None else [])]
        base = max((one for one in snapshots if one.seq <= seq), key=lambda one: one.seq, default=None)
        start = base.seq if base is not None else 0
        if base is None and document.floor:
            raise NotFound("that version of the document is no longer stored")
        updates = [row.update for row in _rows(document) if start < row.seq <= seq]
        return updates if base is None else [base.update, *updates]

    # entities

    async def entity(self, key: RoomKey) -> EntityRow | None:
        entity = self._entities.get(key)
        return None if entity is None else _copy(entity.row)

    async def children(self, project: str, collection: str, prefix: str) -> Sequence[EntityRow]:
        return [
            _copy(entity.row)
            for key, entity in sorted(self._entities.items())
            if key[:2] == (project, collection) and key.id.startswith(prefix)
        ]

    async def half_deleted(self, collection: str, inside: str, limit: int) -> Sequence[RoomKey]:
        living = {
            RoomKey(key.project, collection, key.id.partition(":")[0])
            for key, entity in self._entities.items()
            if key.collection == inside and not entity.row.deleted
        }
        return [key for key in sorted(living) if key in self._entities and self._entities[key].row.deleted][:limit]

    async def find(self, project: str, collection: str, query: Query) -> FoundRows:
        rows = {row.key.id: row for row in self._living(project, collection)}
        found = select([row.data for row in rows.values()], query)
        return FoundRows([rows[data["id"]] for data in found], self._span(project).newest)

    async def count(self, project: str, collection: str, query: Query) -> int:
        return len(
            select([row.data for row in self._living(project, collection)], replace(query, limit=None, offset=0))
        )

    async def request(self, project: str, caller: str, name: str) -> Requested | None:
        found = self._requests.get((project, caller, name))
        return None if found is None else found[0]

    # events

    async def positions(self) -> Positions:
        return Positions(self._epoch, 0, {project: span.newest for project, span in self._spans.items()})

    async def span(self, project: str) -> Span:
        return self._span(project)

    async def newest_at(self) -> float:
        return max(self._newest_at, *(events[max(events)][0] for events in self._events.values() if events), 0.0)

    async def events(
        self, project: str, after: int, *, limit: int, collection: str | None = None, entity: str | None = None
    ) -> Sequence[EntityEvent]:
        found = [
            event
            for position, (_, key, event) in self._events.get(project, {}).items()
            if position > after and collection in (None, key.collection) and entity in (None, key.id)
        ]
        return found[:limit]

    async def history(self, key: RoomKey, *, before: int | None = None, limit: int = 50) -> Sequence[Version]:
        versions = [one for _, one in self._versions(key) if before is None or one.event.version < before]
        return versions[::-1][:limit]

    async def seq_at(self, key: RoomKey, *, version: int | None = None, at: float | None = None) -> tuple[int, Version]:
        found: Version | None = None
        for when, one in self._versions(key):
            if one.event.version == version if version is not None else at is None or when <= at:
                found = one
        if found is None:
            raise NotFound("there was no such version, or it is no longer stored")
        seq = found.seq
        document = self._documents.get(key)
        if document is not None and version is None and at is not None:
            seq = max([seq, *(row.seq for row in _rows(document) if row.at <= at)])
        return seq, found

    async def trim(self, before: float) -> None:
        for project, (oldest, newest) in self._spans.items():
            young = (
                position for position, kept in self._events[project].items() if position > oldest and kept[0] >= before
            )
            self._spans[project] = Span(next(young, newest + 1) - 1, newest)
        for key, entity in self._entities.items():
            old = [one for _, one in entity.versions if one.event.position <= self._span(key.project).oldest]
            for one in old[:-1]:
                del self._events[key.project][one.event.position]
            entity.versions = entity.versions[max(len(old) - 1, 0) :]
        day = max(before, self._clock() - REQUEST_SECONDS)
        self._requests = {name: kept for name, kept in self._requests.items() if kept[1] >= day}
        for key, document in self._documents.items():
            _cut(document, before, self._asides(key))

    # declarations and webhooks

    async def index(self, collection: str, indexes: Sequence[IndexPaths]) -> None: ...

    async def schemas(self, project: str) -> dict[str, tuple[int, bytes]]:
        return {key[1]: schema for key, schema in sorted(self._schemas.items()) if key[0] == project}

    async def save_schema(self, project: str, collection: str, version: int, schema: bytes) -> None:
        self._schemas[project, collection] = (version, schema)

    async def webhook_position(self, webhook: str, project: str) -> int | None:
        return self._webhooks.get((webhook, project))

    async def save_webhook(self, webhook: str, project: str, position: int, dead: Sequence[DeadLetter] = ()) -> None:
        self._webhooks[webhook, project] = position
        for letter in dead:
            kept = self._dead.setdefault(webhook, [])
            if not any((old.project, old.event) == (letter.project, letter.event) for old in kept):
                kept.append(letter)
                del kept[:-DEAD_LETTERS]

    async def dead_letters(self, webhook: str) -> Sequence[DeadLetter]:
        return list(self._dead.get(webhook, ()))

    # inside

    def _append(self, entry: Append) -> int:
        document = self._documents.get(entry.key)
        if document is None:
            document = self._documents[entry.key] = _Document(token_hex(8))
        document.seq += 1
        document.rows.append(LogRow(document.seq, entry.update, entry.user_id, entry.at))
        return document.seq

    def _span(self, project: str) -> Span:
        return self._spans.get(project, Span(0, 0))

    def _record(self, fact: Fact, seqs: Sequence[int]) -> int:
        """Store a fact; return the position of its event."""
        key = fact.entity.key
        entity = self._entities.setdefault(key, _Entity(fact.entity))
        entity.row = _copy(fact.entity)
        span = self._span(key.project)
        position = span.newest + 1
        self._spans[key.project] = span._replace(newest=position)
        event = event_from(to_json(msgspec.structs.replace(fact.event, position=position, at=iso_micros(fact.at))))
        document = self._documents.get(key)
        seq = reach_of(
            fact,
            seqs,
            document.seq if document is not None else 0,
            entity.versions[-1][1].seq if entity.versions else 0,
        )
        entity.versions.append((fact.at, Version(event, seq)))
        self._events.setdefault(key.project, {})[position] = (fact.at, key, event)
        if fact.request is not None:
            caller, name, digest = fact.request
            done = Requested(key, fact.entity.version, digest)
            self._requests.setdefault((key.project, caller, name), (done, fact.at))
        return position

    def _list_uncovered(self, key: RoomKey) -> None:
        document, entity = self._documents.get(key), self._entities.get(key)
        covered = entity.row.content_seq if entity is not None else 0
        if document is not None and document.live > max(covered, 0):
            self._uncovered.setdefault(key)
        else:
            self._uncovered.pop(key, None)

    def _versions(self, key: RoomKey) -> Sequence[tuple[float, Version]]:
        entity = self._entities.get(key)
        return entity.versions if entity is not None else ()

    def _living(self, project: str, collection: str) -> list[EntityRow]:
        return [
            _copy(entity.row)
            for key, entity in self._entities.items()
            if key[:2] == (project, collection) and not entity.row.deleted
        ]


def _rows(document: _Document) -> list[LogRow]:
    return [*document.archive, *document.rows]


def _cut(document: _Document, before: float, aside: Sequence[SetAside]) -> None:
    """Delete everything before the newest snapshot that is older than ``before``."""
    times = [(row.seq, row.at) for row in document.archive]
    times += [(entry.seq, entry.at) for entry in aside if entry.seq is not None and entry.seq > document.floor]
    current = document.snapshot
    for base in [*([current] if current is not None else []), *document.bases[::-1]]:
        newest = max((at for seq, at in times if seq <= base.seq), default=None)
        if newest is None:
            return
        if newest < before:
            document.archive = [row for row in document.archive if row.seq > base.seq]
            document.bases = [one for one in document.bases if one.seq >= base.seq]
            document.floor = base.seq
            return


def _copy(row: EntityRow) -> EntityRow:
    """A copy as a database would return it, which shares nothing with the stored row."""
    return replace(row, data=from_json(to_json(row.data)))
