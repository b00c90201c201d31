"""What a record in memory holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from secrets import token_hex

import msgspec

from collab.access.revocations import Revocation
from collab.dates import iso_micros
from collab.event import EntityEvent
from collab.names import RoomKey
from collab.query.query import IndexPaths, Search
from collab.query.search import compile_search, finds_contents
from collab.storage.base import (
    Append,
    Committed,
    DeadLetter,
    EntityRow,
    Fact,
    LogRow,
    NewContents,
    Requested,
    SetAside,
    Snapshot,
    Span,
    Version,
)
from collab.storage.codec import event_from, from_json, to_json
from collab.storage.memory_nodes import MemoryNodes
from collab.storage.rules import reach_of
from collab.storage.search import check_form, contents_path, keeps_contents, stored_contents, write_form


@dataclass(slots=True)
class MemoryDocument:
    """A document. ``rows`` are those after the snapshot, ``archive`` those up to it but after row ``floor``.

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
        """The newest row that is still loaded."""
        return self.rows[-1].seq if self.rows else self.snapshot.seq if self.snapshot is not None else 0


@dataclass(slots=True)
class MemoryEntity:
    """An entity, and its versions with their times."""

    row: EntityRow
    versions: list[tuple[float, Version]] = field(default_factory=list)  # those that are kept


@dataclass(slots=True)
class MemoryRecord:
    """What storages in memory hold: several that are given the same one are nodes of it."""

    nodes: MemoryNodes = field(default_factory=MemoryNodes)
    documents: dict[RoomKey, MemoryDocument] = field(default_factory=dict)
    set_aside: list[SetAside] = field(default_factory=list)
    entities: dict[RoomKey, MemoryEntity] = field(default_factory=dict)
    events: dict[str, dict[int, tuple[float, RoomKey, EntityEvent]]] = field(default_factory=dict)
    """By project and position."""
    spans: dict[str, Span] = field(default_factory=dict)
    epoch: str = field(default_factory=lambda: token_hex(8))
    newest_at: float = 0.0
    """Of erased events."""
    receipts: dict[str, tuple[int, Committed]] = field(default_factory=dict)
    """By writer."""
    uncovered: dict[RoomKey, None] = field(default_factory=dict)
    requests: dict[tuple[str, str, str], tuple[Requested, float]] = field(default_factory=dict)
    schemas: dict[tuple[str, str], tuple[int, bytes]] = field(default_factory=dict)
    searchable: dict[str, str] = field(default_factory=dict)  # what is searched, by collection
    contents: dict[RoomKey, str] = field(default_factory=dict)  # folded texts of documents
    unread: dict[RoomKey, None] = field(default_factory=dict)  # entities whose contents are still to be read
    reading: set[str] = field(default_factory=set)  # collections that are not searched meanwhile
    webhooks: dict[tuple[str, str], int] = field(default_factory=dict)
    dead: dict[str, list[DeadLetter]] = field(default_factory=dict)
    revocations: dict[tuple[str, str, str], Revocation] = field(default_factory=dict)

    def asides(self, key: RoomKey) -> list[SetAside]:
        """The quarantined entries of a document."""
        return [entry for entry in self.set_aside if entry.key == key]

    def versions(self, key: RoomKey) -> Sequence[tuple[float, Version]]:
        """The versions of an entity that are kept, with their times."""
        entity = self.entities.get(key)
        return entity.versions if entity is not None else ()

    def living(self, project: str, collection: str) -> list[EntityRow]:
        """Copies of the entities of a collection that are not deleted."""
        return [
            copied(entity.row)
            for key, entity in self.entities.items()
            if key[:2] == (project, collection) and not entity.row.deleted
        ]

    def span(self, project: str) -> Span:
        """The positions of a project whose events are kept."""
        return self.spans.get(project, Span(0, 0))

    def append(self, entry: Append) -> int:
        """Append a row to a document, which may be new; return its number."""
        document = self.documents.get(entry.key)
        if document is None:
            document = self.documents[entry.key] = MemoryDocument(token_hex(8))
        document.seq += 1
        document.rows.append(LogRow(document.seq, entry.update, entry.user_id, entry.at))
        return document.seq

    def store(self, fact: Fact, seqs: Sequence[int]) -> int:
        """Store a fact; return the position of its event."""
        key = fact.entity.key
        entity = self.entities.setdefault(key, MemoryEntity(fact.entity))
        covered = max(entity.row.content_seq, fact.entity.content_seq)
        entity.row = replace(copied(fact.entity), content_seq=covered)
        span = self.span(key.project)
        position = span.newest + 1
        self.spans[key.project] = span._replace(newest=position)
        event = event_from(to_json(msgspec.structs.replace(fact.event, position=position, at=iso_micros(fact.at))))
        document = self.documents.get(key)
        seq = reach_of(
            fact,
            seqs,
            document.seq if document is not None else 0,
            entity.versions[-1][1].seq if entity.versions else 0,
        )
        entity.versions.append((fact.at, Version(event, seq)))
        self.events.setdefault(key.project, {})[position] = (fact.at, key, event)
        if fact.contents is not None:
            self.store_contents(key, fact.contents)
        if fact.request is not None:
            caller, name, digest = fact.request
            done = Requested(key, fact.entity.version, digest)
            self.requests.setdefault((key.project, caller, name), (done, fact.at))
        return position

    def store_contents(self, key: RoomKey, contents: NewContents) -> None:
        """Store what a document says, if that is searched."""
        stored = stored_contents(self.searchable.get(key.collection, ""), contents)
        if stored is None:
            return
        if stored.text is None:
            self.unread.setdefault(key)
        else:
            self.contents[key] = stored.text
            self.unread.pop(key, None)

    def declare_search(self, collection: str, paths: IndexPaths) -> None:
        """Have exactly these members of a collection searched."""
        before, form = self.searchable.get(collection), write_form(paths)
        self.searchable[collection] = form
        if contents_path(form) is None:
            for key in [key for key in self.unread if key.collection == collection]:
                del self.unread[key]
            self.reading.discard(collection)
        elif not keeps_contents(before, form):
            there = [key for key in self.entities if key.collection == collection and key in self.documents]
            self.unread |= dict.fromkeys(there)
            if there:
                self.reading.add(collection)

    def searched(self, project: str, collection: str, search: Search | None) -> list[EntityRow]:
        """Copies of the entities of a collection that are found.

        Raises :class:`collab.errors.Unavailable` unless these members of all of them are searched.
        """
        rows = self.living(project, collection)
        if search is None:
            return rows
        self.check_searched(collection, search.paths)
        is_found = compile_search(search)
        contents = self.contents if finds_contents(search.paths) else {}
        return [row for row in rows if is_found(row.data, contents.get(row.key, ""))]

    def check_searched(self, collection: str, paths: IndexPaths) -> None:
        """Raise :class:`collab.errors.Unavailable` unless these members of all entities are searched."""
        form = self.searchable.get(collection)
        check_form(collection, paths, form, done=True, reading=collection in self.reading)

    def list_uncovered(self, key: RoomKey) -> None:
        """Update ``uncovered``: it has the documents whose newest rows are not in a content event yet."""
        document, entity = self.documents.get(key), self.entities.get(key)
        covered = entity.row.content_seq if entity is not None else 0
        if document is not None and document.live > max(covered, 0):
            self.uncovered.setdefault(key)
        else:
            self.uncovered.pop(key, None)


def rows_of(document: MemoryDocument) -> list[LogRow]:
    """All rows that are kept."""
    return [*document.archive, *document.rows]


def cut(document: MemoryDocument, before: float, aside: Sequence[SetAside]) -> None:
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


def copied(row: EntityRow) -> EntityRow:
    """A copy as a database would return it, which shares nothing with the stored row."""
    return replace(row, data=from_json(to_json(row.data)))
