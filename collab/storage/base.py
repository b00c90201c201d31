"""What the record plane asks of a database: :class:`Storage`, and the values that cross it.

A storage acknowledges after commit. A load error is never an absent document.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from collab.errors import Unavailable
from collab.event import EntityEvent
from collab.names import RoomKey
from collab.query.query import Path, Query


class StorageError(Unavailable):
    """The storage could not do it now; nothing was changed. Retry."""


class StorageCorrupt(Unavailable):
    """The storage cannot be opened as it is: unknown schema version or damaged file. Never started over."""


class Append(NamedTuple):
    """One accepted update on its way into the log."""

    key: RoomKey
    update: bytes
    user_id: str | None
    at: float  # seconds since the epoch


@dataclass(frozen=True, slots=True)
class LogRow:
    """One row of a document's log. ``seq`` rises by commit order within the document, without reuse."""

    seq: int
    update: bytes
    user_id: str | None
    at: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A document's state up to and including log row ``seq``, verified by loading it in another process.

    ``index`` is what :meth:`collab.wire.update.Gate.from_index` reads, so that a room opens without decoding
    the whole state in Python.
    """

    seq: int
    update: bytes
    index: bytes


@dataclass(frozen=True, slots=True)
class SetAside:
    """Bytes that are kept but not loaded: a corrupt row, or a frame that ended a worker."""

    key: RoomKey
    seq: int | None  # None: a frame that never reached the log
    update: bytes
    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class EntityRow:
    """What is durably known of an entity after its newest event.

    ``data`` is ``{id, ...fields, createdAt, updatedAt}``. ``heads`` is who wrote each field last, for the entity's
    own use. ``content_seq`` is the log row up to which changes of content have become events (of an entity that has
    a document of its own).
    """

    key: RoomKey
    version: int
    data: dict[str, Any]
    deleted: bool
    heads: bytes
    content_seq: int


class Fact(NamedTuple):
    """One event on its way into the record, with the state of its entity after it.

    ``row`` is the index in the batch of the log row that it belongs to, -1 for none. ``request`` makes a write
    known by the name that its writer gave it. The position of ``event`` is given by the storage.
    """

    entity: EntityRow
    event: EntityEvent
    at: float  # seconds since the epoch, the same as event.at
    row: int = -1
    request: str | None = None


class Committed(NamedTuple):
    """The ``seq`` of each log row, and the position of the first fact; those of the others follow by one."""

    seqs: Sequence[int]
    position: int


class Version(NamedTuple):
    """One event of an entity's history, with the log row up to which the document belongs to it."""

    event: EntityEvent
    seq: int


class Positions(NamedTuple):
    """Events after ``oldest`` up to ``newest`` are known. ``epoch`` is a random name of this database."""

    epoch: str
    oldest: int
    newest: int


@dataclass(frozen=True, slots=True)
class FoundRows:
    """Rows of a query, as of position ``position``."""

    rows: Sequence[EntityRow]
    position: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that a webhook did not take, after all attempts."""

    webhook: str
    event: EntityEvent
    project: str
    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class Record:
    """All that is durably known of a document.

    ``lineage`` is a random id given when it was created; ``None`` if nothing was ever committed, and only
    frames that were set aside are known under this name. ``entity`` is that of the document itself.
    """

    lineage: str | None
    snapshot: Snapshot | None
    rows: Sequence[LogRow]  # after the snapshot, by seq
    set_aside: Sequence[SetAside]
    entity: EntityRow | None = None


class Storage(Protocol):
    """Holds the record. Every method may raise :class:`StorageError`; none of them half-succeeds."""

    async def open(self) -> None:
        """Create or migrate the schema. Raises :class:`StorageCorrupt` when it may not be touched."""

    async def close(self) -> None:
        """Finish what was asked for and let go of the database."""

    async def load(self, key: RoomKey) -> Record | None:
        """Read a document. ``None`` only if it was never written.

        Rows whose checksum is wrong are moved to ``set_aside`` in passing. A snapshot whose checksum is wrong
        stays where it is and raises :class:`collab.errors.DocumentDamaged`: the rows behind it were cut, and
        what is left would be another document.
        """

    async def commit(self, batch: Sequence[Append], facts: Sequence[Fact] = ()) -> Committed:
        """Append to the logs of any number of documents, and to the record of entities, in one transaction.

        Durable on return. Documents come into being with their first log row. Facts of one entity come in the order of
        their versions; the last one is what the entity is.
        """

    async def create(self, append: Append) -> bool:
        """Commit ``append`` only if its document does not exist yet. Returns whether it did so (seeding)."""

    async def replace_snapshot(self, key: RoomKey, snapshot: Snapshot) -> None:
        """Store ``snapshot`` and cut the log up to ``snapshot.seq``, in one transaction.

        Does nothing if there is a newer one. Raises :class:`ValueError` if the log was never that long.
        """

    async def set_aside(self, entry: SetAside) -> None:
        """Keep ``entry``; if it names a log row, that row leaves the log in the same transaction.

        The same bytes of the same document and ``seq`` are kept once.
        """

    async def list_set_aside(self, project: str | None = None) -> Sequence[SetAside]:
        """All that was set aside, oldest first."""

    # entities

    async def entity(self, key: RoomKey) -> EntityRow | None:
        """One entity, deleted or not."""

    async def children(self, project: str, collection: str, prefix: str) -> Sequence[EntityRow]:
        """The entities whose id begins with ``prefix``, deleted or not (those that live inside one document)."""

    async def find(self, project: str, collection: str, query: Query) -> FoundRows:
        """The entities that a query selects, in its order, without deleted ones; of one moment."""

    async def count(self, project: str, collection: str, query: Query) -> int:
        """How many :meth:`find` would give without ``limit`` and ``offset``."""

    async def request(self, project: str, request: str) -> tuple[RoomKey, int] | None:
        """The entity and version that a named write of the last day made."""

    # events

    async def positions(self) -> Positions:
        """Which events are known."""

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

    async def history(self, key: RoomKey, *, before: int | None = None, limit: int = 50) -> Sequence[Version]:
        """Versions of one entity below ``before``, the newest first."""

    async def document_at(self, key: RoomKey, seq: int) -> Sequence[bytes]:
        """The updates that make the document as it was after log row ``seq``, in order.

        Raises :class:`collab.errors.NotFound` if that is older than what is kept.
        """

    async def seq_at(self, key: RoomKey, *, version: int | None = None, at: float | None = None) -> tuple[int, Version]:
        """The log row that a version, or a moment, of an entity reaches to, and its newest event then.

        Raises :class:`collab.errors.NotFound` if there was none, or it is older than what is kept.
        """

    async def trim(self, before: float) -> None:
        """Forget events, old log rows and named requests of before a moment; the newest event of each entity stays."""

    async def uncovered(self, limit: int = 100) -> Sequence[RoomKey]:
        """Documents with log rows whose content has not become events yet."""

    async def cover(self, key: RoomKey, seq: int) -> None:
        """Content up to log row ``seq`` needs no further events. Does nothing if there is no entity."""

    async def log_after(self, key: RoomKey, seq: int) -> Sequence[LogRow]:
        """The newest log rows of a document, behind ``seq``."""

    # beside them

    async def index(self, collection: str, paths: Sequence[Path]) -> None:
        """Have these members of a collection, and only these, indexed for :meth:`find`."""

    async def schemas(self, project: str) -> dict[str, tuple[int, bytes]]:
        """The declared collections as they were saved last: name -> version, JSON."""

    async def save_schema(self, project: str, collection: str, version: int, schema: bytes) -> None:
        """Remember a declaration."""

    async def webhook_position(self, webhook: str) -> int | None:
        """Up to where a webhook has taken events; ``None`` if it is new."""

    async def save_webhook(self, webhook: str, position: int, dead: Sequence[DeadLetter] = ()) -> None:
        """Remember how far a webhook is, and what it did not take."""

    async def dead_letters(self, webhook: str) -> Sequence[DeadLetter]:
        """What a webhook did not take, oldest first."""
