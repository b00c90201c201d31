"""Reads a record beside the server that writes it: for commands, which are no node and hold no lock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from collab.names import RoomKey
from collab.storage.base import DeadLetter, Positions, Record, SetAside


class NumberedLetter(NamedTuple):
    """A dead letter and its number in the record."""

    number: int
    letter: DeadLetter


class NumberedAside(NamedTuple):
    """A quarantined entry and its number in the record."""

    number: int
    entry: SetAside


class WebhookProgress(NamedTuple):
    """How far a webhook is in a project, and how many dead letters it has there. ``position`` is 0 before the first."""

    name: str
    project: str
    position: int
    dead: int


class CollectionCount(NamedTuple):
    """How many entities and documents a collection of a project has, deleted ones included."""

    project: str
    collection: str
    size: int


class AsideHead(NamedTuple):
    """A quarantined entry without its bytes: its number, of which document and log row, how many bytes, why, when."""

    number: int
    key: RoomKey
    seq: int | None
    size: int
    reason: str
    at: float


class DeletedEntity(NamedTuple):
    """A deleted entity that can be restored: its id, its last version, and when it was deleted."""

    id: str
    version: int
    at: float


class ProjectSize(NamedTuple):
    """What a project keeps, in bytes as stored: snapshots and history are compressed; indexes and free space of the
    database are not counted.

    ``entities`` are rows as they are now, ``events`` those before, ``documents`` the current state of Yjs documents and
    ``history`` the earlier ones.
    """

    project: str
    entities: int
    events: int
    documents: int
    history: int


class LoadedRecord(NamedTuple):
    """A document with its entity, and its log rows that do not match their checksums (they are not in ``record``)."""

    record: Record
    damaged: Sequence[SetAside]


class RecordReader(Protocol):
    """Reads a record. Each method sees one state of it, and may raise :class:`collab.storage.base.StorageError`."""

    async def positions(self) -> Positions:
        """The newest position of every project."""

    async def newest_at(self) -> float:
        """The time of the newest event, in seconds since the epoch; 0 if there was none."""

    async def collections(self) -> Sequence[CollectionCount]:
        """All collections with entities or documents, by project and name."""

    async def ids(self, project: str, collection: str, after: str, limit: int) -> Sequence[str]:
        """The next ids of entities and documents of a collection after one, in the order of their bytes."""

    async def deleted(self, project: str, collection: str, after: str, limit: int) -> Sequence[DeletedEntity]:
        """The next deleted entities of a collection after an id, in the order of the ids' bytes."""

    async def load(self, key: RoomKey) -> LoadedRecord | None:
        """A document with its entity. Raises :class:`collab.errors.DocumentDamaged`."""

    async def schemas(self, project: str) -> dict[str, tuple[int, bytes]]:
        """The last saved declarations of collections: name -> version, JSON."""

    async def webhooks(self) -> Sequence[WebhookProgress]:
        """All webhooks that have processed events or have dead letters, by name and project."""

    async def dead_letters(self, webhook: str, *, after: int = 0, limit: int | None = None) -> Sequence[NumberedLetter]:
        """Events that a webhook did not accept, oldest first: those after a number, at most ``limit``."""

    async def quarantined(self) -> Sequence[NumberedAside]:
        """All quarantined entries, oldest first."""

    async def quarantine_page(self, after: int, limit: int) -> Sequence[AsideHead]:
        """The next quarantined entries after a number, oldest first, without their bytes."""

    async def quarantined_entry(self, number: int) -> NumberedAside | None:
        """The quarantined entry with a number."""

    async def sizes(self) -> Sequence[ProjectSize]:
        """What each project keeps, by name. Takes long for a large record: it looks at every row."""

    async def clock(self) -> float | None:
        """The clock of the database's machine, in seconds since the epoch; ``None`` if it is this one's."""

    async def complaints(self) -> Sequence[str]:
        """What is wrong with the database itself; it may take as long as reading all of it."""
