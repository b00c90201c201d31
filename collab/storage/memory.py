"""A record that lives as long as its process: for tests and demonstrations. Nothing in it is durable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from secrets import token_hex
from time import time

import msgspec

from collab.dates import iso
from collab.errors import NotFound
from collab.event import EntityEvent
from collab.names import RoomKey
from collab.query.match import select
from collab.query.query import Path, Query
from collab.storage.base import (
    Append,
    Committed,
    DeadLetter,
    EntityRow,
    Fact,
    FoundRows,
    LogRow,
    Positions,
    Record,
    SetAside,
    Snapshot,
    Version,
)
from collab.storage.codec import event_from, from_json, to_json
from collab.storage.rules import DEAD_LETTERS, REQUEST_SECONDS, reach_of


@dataclass(slots=True)
class _Document:
    """``rows`` are those behind the snapshot, ``archive`` those up to it that are behind row ``floor``.

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
    """A :class:`collab.storage.base.Storage` without a disk. Closing it forgets nothing.

    ``history_seconds``: how long documents can be read as they were; ``None``: until :meth:`trim`, 0: not at all.
    ``clock`` gives seconds since the epoch.
    """

    def __init__(self, *, history_seconds: float | None = None, clock: Callable[[], float] = time) -> None:
        self._history_seconds = history_seconds
        self._clock = clock
        self._documents: dict[RoomKey, _Document] = {}
        self._set_aside: list[SetAside] = []
        self._entities: dict[RoomKey, _Entity] = {}
        self._events: dict[int, tuple[float, RoomKey, EntityEvent]] = {}  # by position
        self._positions = Positions(token_hex(8), 0, 0)
        self._uncovered: dict[RoomKey, None] = {}
        self._requests: dict[tuple[str, str], tuple[RoomKey, int, float]] = {}
        self._schemas: dict[tuple[str, str], tuple[int, bytes]] = {}
        self._webhooks: dict[str, int] = {}
        self._dead: dict[str, list[DeadLetter]] = {}

    async def open(self) -> None:
        """There is nothing to prepare."""

    async def close(self) -> None:
        """There is nothing to finish."""

    # documents

    async def load(self, key: RoomKey) -> Record | None:
        """Read a document; ``None`` only if nothing was ever written under its name."""
        aside = [entry for entry in self._set_aside if entry.key == key]
        document = self._documents.get(key)
        entity = await self.entity(key)
        if document is None:
            return Record(None, None, (), aside, entity) if aside or entity is not None else None
        return Record(document.lineage, document.snapshot, tuple(document.rows), aside, entity)

    async def commit(self, batch: Sequence[Append], facts: Sequence[Fact] = ()) -> Committed:
        """Append to logs, entities and events. Raises :class:`ValueError` if versions would have a hole."""
        versions: dict[RoomKey, int] = {}
        for fact in facts:
            key = fact.entity.key
            known = self._entities.get(key)
            before = versions.get(key, known.row.version if known is not None else 0)
            if fact.entity.version != before + 1:
                raise ValueError(f"version {fact.entity.version} of {key} does not follow version {before}")
            versions[key] = before + 1
        seqs = [self._append(entry) for entry in batch]
        first = self._positions.newest + 1
        for fact in facts:
            self._record(fact, seqs)
        for key in dict.fromkeys([*(entry.key for entry in batch), *versions]):
            self._list_uncovered(key)
        return Committed(seqs, first)

    async def create(self, append: Append) -> bool:
        """Append only if the document does not exist yet. Returns whether it did so."""
        if append.key in self._documents:
            return False
        await MemoryStorage.commit(self, [append])
        return True

    async def replace_snapshot(self, key: RoomKey, snapshot: Snapshot) -> None:
        """Store ``snapshot`` and move the log up to ``snapshot.seq`` to the history, unless there is a newer one."""
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
                _cut(document, max(row.at for row in moved) - self._history_seconds)
        self._list_uncovered(key)

    async def set_aside(self, entry: SetAside) -> None:
        """Keep ``entry``, once; if it names a log row, that row leaves the log."""
        same = (entry.key, entry.seq, entry.update)
        if not any((kept.key, kept.seq, kept.update) == same for kept in self._set_aside):
            self._set_aside.append(entry)
        document = self._documents.get(entry.key)
        if document is not None:
            document.rows = [row for row in document.rows if row.seq != entry.seq]
            self._list_uncovered(entry.key)

    async def list_set_aside(self, project: str | None = None) -> Sequence[SetAside]:
        """All that was set aside, of one project or of all, oldest first."""
        return [entry for entry in self._set_aside if project is None or entry.key.project == project]

    async def uncovered(self, limit: int = 100) -> Sequence[RoomKey]:
        """Documents with log rows whose content has not become events yet, the longest waiting first."""
        return list(self._uncovered)[:limit]

    async def cover(self, key: RoomKey, seq: int) -> None:
        """Content up to log row ``seq`` needs no further events."""
        entity = self._entities.get(key)
        if entity is not None and entity.row.content_seq < seq:
            entity.row = replace(entity.row, content_seq=seq)
            self._list_uncovered(key)

    async def log_after(self, key: RoomKey, seq: int) -> Sequence[LogRow]:
        """Log rows of a document behind ``seq``, also those that a snapshot took the place of."""
        document = self._documents.get(key)
        return [] if document is None else [row for row in _rows(document) if row.seq > seq]

    async def document_at(self, key: RoomKey, seq: int) -> Sequence[bytes]:
        """The updates that make the document as it was after log row ``seq``, in order.

        Raises :class:`collab.errors.NotFound` if that is older than what is kept, or was never written.
        """
        if seq <= 0:
            return []
        document = self._documents.get(key)
        if document is None or seq > document.seq:
            raise NotFound("the document was never written that far")
        snapshots = [*document.bases, *([document.snapshot] if document.snapshot is not None else [])]
        base = max((one for one in snapshots if one.seq <= seq), key=lambda one: one.seq, default=None)
        start = base.seq if base is not None else 0
        if base is None and document.floor:
            raise NotFound("that version of the document is not kept any more")
        updates = [row.update for row in _rows(document) if start < row.seq <= seq]
        return updates if base is None else [base.update, *updates]

    # entities

    async def entity(self, key: RoomKey) -> EntityRow | None:
        """One entity, deleted or not."""
        entity = self._entities.get(key)
        return None if entity is None else _copy(entity.row)

    async def children(self, project: str, collection: str, prefix: str) -> Sequence[EntityRow]:
        """The entities whose id begins with ``prefix``, deleted or not, by id."""
        return [
            _copy(entity.row)
            for key, entity in sorted(self._entities.items())
            if key[:2] == (project, collection) and key.id.startswith(prefix)
        ]

    async def find(self, project: str, collection: str, query: Query) -> FoundRows:
        """The entities that a query selects, in its order, without deleted ones; of one moment."""
        rows = {row.key.id: row for row in self._living(project, collection)}
        found = select([row.data for row in rows.values()], query)
        return FoundRows([rows[data["id"]] for data in found], self._positions.newest)

    async def count(self, project: str, collection: str, query: Query) -> int:
        """How many :meth:`find` would give without ``limit`` and ``offset``."""
        return len(
            select([row.data for row in self._living(project, collection)], replace(query, limit=None, offset=0))
        )

    async def request(self, project: str, request: str) -> tuple[RoomKey, int] | None:
        """The entity and version that a named write of the last day made."""
        found = self._requests.get((project, request))
        return None if found is None else found[:2]

    # events

    async def positions(self) -> Positions:
        """Which events are known."""
        return self._positions

    async def events(
        self,
        after: int,
        *,
        limit: int,
        project: str | None = None,
        collection: str | None = None,
        entity: str | None = None,
    ) -> Sequence[tuple[str, EntityEvent]]:
        """Events behind a position, by position, each with its project."""
        wanted = (project, collection, entity)
        found = [
            (key.project, event)
            for position, (_, key, event) in self._events.items()
            if position > after and all(want is None or want == part for want, part in zip(wanted, key, strict=True))
        ]
        return found[:limit]

    async def history(self, key: RoomKey, *, before: int | None = None, limit: int = 50) -> Sequence[Version]:
        """Versions of one entity below ``before``, the newest first."""
        versions = [one for _, one in self._versions(key) if before is None or one.event.version < before]
        return versions[::-1][:limit]

    async def seq_at(self, key: RoomKey, *, version: int | None = None, at: float | None = None) -> tuple[int, Version]:
        """The log row that a version, or a moment, of an entity reaches to, and its newest event then.

        Without either: the newest version. Raises :class:`collab.errors.NotFound` if there was none, or it is older
        than what is kept.
        """
        found: Version | None = None
        for when, one in self._versions(key):
            if one.event.version == version if version is not None else at is None or when <= at:
                found = one
        if found is None:
            raise NotFound("there was no such version, or it is not kept any more")
        seq = found.seq
        document = self._documents.get(key)
        if document is not None and version is None and at is not None:
            seq = max([seq, *(row.seq for row in _rows(document) if row.at <= at)])
        return seq, found

    async def trim(self, before: float) -> None:
        """Forget events, history of documents, and named requests (these after a day) from before a moment.

        Of each entity the newest event up to then stays, of each document what the newest snapshot up to then leaves.
        """
        epoch, oldest, newest = self._positions
        cut = newest
        for position, (at, _, _) in self._events.items():
            if position > oldest and at >= before:
                cut = position - 1
                break
        for entity in self._entities.values():
            old = [one for _, one in entity.versions if one.event.position <= cut]
            for one in old[:-1]:
                del self._events[one.event.position]
            entity.versions = entity.versions[max(len(old) - 1, 0) :]
        self._positions = Positions(epoch, max(oldest, cut), newest)
        day = max(before, self._clock() - REQUEST_SECONDS)
        self._requests = {name: kept for name, kept in self._requests.items() if kept[2] >= day}
        for document in self._documents.values():
            _cut(document, before)

    # beside them

    async def index(self, collection: str, paths: Sequence[Path]) -> None:
        """There is nothing to gain."""

    async def schemas(self, project: str) -> dict[str, tuple[int, bytes]]:
        """The declared collections as they were saved last: name -> version, JSON."""
        return {key[1]: schema for key, schema in sorted(self._schemas.items()) if key[0] == project}

    async def save_schema(self, project: str, collection: str, version: int, schema: bytes) -> None:
        """Remember a declaration."""
        self._schemas[project, collection] = (version, schema)

    async def webhook_position(self, webhook: str) -> int | None:
        """Up to where a webhook has taken events; ``None`` if it is new."""
        return self._webhooks.get(webhook)

    async def save_webhook(self, webhook: str, position: int, dead: Sequence[DeadLetter] = ()) -> None:
        """Remember how far a webhook is, and what it did not take: of that the newest 10,000."""
        self._webhooks[webhook] = position
        for letter in dead:
            kept = self._dead.setdefault(letter.webhook, [])
            kept.append(letter)
            del kept[:-DEAD_LETTERS]

    async def dead_letters(self, webhook: str) -> Sequence[DeadLetter]:
        """What a webhook did not take, oldest first."""
        return list(self._dead.get(webhook, ()))

    # inside

    def _append(self, entry: Append) -> int:
        document = self._documents.get(entry.key)
        if document is None:
            document = self._documents[entry.key] = _Document(token_hex(8))
        document.seq += 1
        document.rows.append(LogRow(document.seq, entry.update, entry.user_id, entry.at))
        return document.seq

    def _record(self, fact: Fact, seqs: Sequence[int]) -> None:
        key = fact.entity.key
        entity = self._entities.setdefault(key, _Entity(fact.entity))
        entity.row = _copy(fact.entity)
        position = self._positions.newest + 1
        self._positions = self._positions._replace(newest=position)
        event = event_from(to_json(msgspec.structs.replace(fact.event, position=position, at=iso(fact.at))))
        document = self._documents.get(key)
        seq = reach_of(
            fact,
            seqs,
            document.seq if document is not None else 0,
            entity.versions[-1][1].seq if entity.versions else 0,
        )
        entity.versions.append((fact.at, Version(event, seq)))
        self._events[position] = (fact.at, key, event)
        if fact.request is not None:
            self._requests.setdefault((key.project, fact.request), (key, fact.entity.version, fact.at))

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


def _cut(document: _Document, before: float) -> None:
    """Forget what is in front of the newest snapshot from before a moment."""
    current = document.snapshot
    for base in [*([current] if current is not None else []), *document.bases[::-1]]:
        newest = max((row.at for row in document.archive if row.seq <= base.seq), default=None)
        if newest is None:
            return
        if newest < before:
            document.archive = [row for row in document.archive if row.seq > base.seq]
            document.bases = [one for one in document.bases if one.seq >= base.seq]
            document.floor = base.seq
            return


def _copy(row: EntityRow) -> EntityRow:
    """As a database would give it: nobody else holds parts of it."""
    return replace(row, data=from_json(to_json(row.data)))
