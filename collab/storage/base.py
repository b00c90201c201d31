"""The database interface of the record plane: :class:`Storage`, and the values that it exchanges.

:class:`Storage` has three parts: documents, entities with their events, and consumers of events. Code that needs one
part takes that part. Every method may raise :class:`StorageError`, and then has changed nothing. A storage acknowledges
after the commit. A failed load never looks like a missing document.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from collab.access.revocations import Revocation
from collab.errors import Unavailable
from collab.event import EntityEvent
from collab.names import RoomKey
from collab.query.aggregate import Aggregation, GroupTally
from collab.query.include import KeysQuery
from collab.query.query import IndexPaths, Path, Query
from collab.query.search import CONTENTS


class StorageError(Unavailable):
    """The storage failed for now; nothing was changed. Retry."""


class RecordInUse(StorageError):
    """A server uses the record, or was killed while it did."""


class StorageCorrupt(Unavailable):
    """The storage cannot be opened: unknown schema version or damaged file. It is never recreated."""


class Append(NamedTuple):
    """An accepted update for the log."""

    key: RoomKey
    update: bytes
    user_id: str | None
    at: float  # seconds since the epoch


@dataclass(frozen=True, slots=True)
class LogRow:
    """One row of a document's log. ``seq`` increases in commit order within the document and is never reused."""

    seq: int
    update: bytes
    user_id: str | None
    at: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A document's state up to and including log row ``seq``, verified by loading it in another process.

    :meth:`collab.gate.gate.Gate.from_index` reads ``index``, so that a room opens without decoding the whole state in
    Python.
    """

    seq: int
    update: bytes
    index: bytes


@dataclass(frozen=True, slots=True)
class SetAside:
    """Bytes that are kept but not loaded: a corrupt row, or a frame that crashed a worker."""

    key: RoomKey
    seq: int | None  # None: a frame that never reached the log
    update: bytes
    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class EntityRow:
    """The stored state of an entity after its newest event.

    ``data`` is ``{id, ...fields, createdAt, updatedAt}``. ``heads`` holds the last writer of each field, in the
    entity's own encoding. ``content_seq`` is the log row up to which content changes have become events (for an entity
    with a document of its own); the storage keeps the greatest that it was given.
    """

    key: RoomKey
    version: int
    data: dict[str, Any]
    deleted: bool
    heads: bytes
    content_seq: int


class IdempotencyKey(NamedTuple):
    """A caller's name for a write, and a digest of the whole request."""

    caller: str
    name: str
    digest: bytes


class Requested(NamedTuple):
    """The result of a named write: a version of an entity. ``digest`` is empty if it is unknown.

    ``key`` is ``None`` if the entity has been erased: the name stays taken, so that the write is not made again.
    """

    key: RoomKey | None
    version: int
    digest: bytes


class NewContents(NamedTuple):
    """What a document says after its contents have changed: their folded text, ``None`` if nobody has computed it.

    ``path`` names the contents in what its reader takes for what is searched: :data:`collab.query.search.CONTENTS`, and
    the roots that are none. If other ones are declared by now, the text does not count.
    """

    text: str | None
    path: Path = CONTENTS


class Fact(NamedTuple):
    """One event for the record, with the state of its entity after it.

    ``row`` is the index in the batch of the event's log row, -1 for none. ``request`` records the write under its
    caller's name for it. The storage assigns the position of ``event``. ``contents`` are those of the entity's
    document up to ``content_seq``, if they have changed.
    """

    entity: EntityRow
    event: EntityEvent
    at: float  # seconds since the epoch, the same as event.at
    row: int = -1
    request: IdempotencyKey | None = None
    contents: NewContents | None = None


class CommitId(NamedTuple):
    """Names a commit, so that it can be repeated: ``number`` counts the commits of ``writer``, a random name."""

    writer: str
    number: int


class Committed(NamedTuple):
    """The ``seq`` of each log row, and the position of each fact."""

    seqs: Sequence[int]
    positions: Sequence[int]


class Version(NamedTuple):
    """One event of an entity's history, and the log row up to which the document belongs to it."""

    event: EntityEvent
    seq: int


class Span(NamedTuple):
    """The events of a project after ``oldest`` up to ``newest`` are stored, except erased ones."""

    oldest: int
    newest: int


@dataclass(frozen=True, slots=True)
class Positions:
    """The newest position of each project with events; a new project's first event gets the one after ``base``.

    ``epoch`` is a random name of this database. ``base`` is 0 unless the database is from the time when all projects
    shared one counter: then it is the counter's last value, so that no old position is assigned again.
    """

    epoch: str
    base: int
    newest: Mapping[str, int]

    def of(self, project: str) -> int:
        """The newest position of a project."""
        return self.newest.get(project, self.base)


class Unread(NamedTuple):
    """An entity of which a search lacks the folded text of its document up to log row ``seq``."""

    key: RoomKey
    seq: int


@dataclass(frozen=True, slots=True)
class FoundRows:
    """Rows of a query, as of ``position`` in their project."""

    rows: Sequence[EntityRow]
    position: int


@dataclass(frozen=True, slots=True)
class FoundEach:
    """Rows of one query for each of several keys, as of ``position`` in their project."""

    rows: Mapping[str, Sequence[EntityRow]]
    position: int

    def __len__(self) -> int:
        return sum(map(len, self.rows.values()))


@dataclass(frozen=True, slots=True)
class FoundContents:
    """Rows by id, each with the folded text of what its document says, as of ``position`` in their project."""

    rows: Mapping[str, tuple[EntityRow, str]]
    position: int


@dataclass(frozen=True, slots=True)
class FoundGroups:
    """Groups of an aggregate, sorted by key, as of ``position`` in their project."""

    groups: Sequence[GroupTally]
    position: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that a webhook did not accept after all attempts."""

    webhook: str
    event: EntityEvent
    project: str
    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class Record:
    """The stored state of a document.

    ``lineage`` is a random id from its creation; ``None`` if nothing was ever committed, and only set-aside frames are
    known under this name. ``entity`` is the document's own entity.
    """

    lineage: str | None
    snapshot: Snapshot | None
    rows: Sequence[LogRow]  # after the snapshot, by seq
    set_aside: Sequence[SetAside]
    entity: EntityRow | None = None


class DocumentStorage(Protocol):
    """Current and past documents."""

    async def load(self, key: RoomKey) -> Record | None:
        """Load a document. ``None`` only if it was never written.

        Rows with a wrong checksum are moved to ``set_aside`` in passing. A snapshot with a wrong checksum stays and
        raises :class:`collab.errors.DocumentDamaged`: the rows that it replaced are gone, and the rest would be a
        different document.
        """

    async def create(self, append: Append) -> bool:
        """Commit ``append`` only if its document does not exist yet. Returns whether it did so (seeding)."""

    async def replace_snapshot(self, key: RoomKey, snapshot: Snapshot) -> None:
        """Store ``snapshot`` in place of the log up to ``snapshot.seq``, which becomes history.

        All readers see the change at one moment. What it leaves to be moved or deleted may take many transactions; if
        they are interrupted, by the end of the process too, everything reads the same. Does nothing if there is a newer
        one. Raises :class:`ValueError` if the log was never that long.
        """

    async def set_aside(self, entry: SetAside) -> None:
        """Keep ``entry``; if it names a log row, that row leaves the log in the same transaction.

        The same bytes of the same document and ``seq`` are kept once.
        """

    async def list_set_aside(self, project: str | None = None) -> Sequence[SetAside]:
        """All set-aside entries, oldest first."""

    async def releases(self) -> Sequence[SetAside]:
        """The set-aside entries whose release is asked for (:mod:`collab.storage.releases`), oldest first."""

    async def log_after(self, key: RoomKey, seq: int) -> Sequence[LogRow]:
        """The log rows of a document after ``seq``."""

    async def document_at(self, key: RoomKey, seq: int) -> Sequence[bytes]:
        """The updates of the document's state after log row ``seq``, in order.

        Raises :class:`collab.errors.NotFound` if that state is no longer stored.
        """

    async def uncovered(self, limit: int = 100) -> Sequence[RoomKey]:
        """Documents with log rows whose content changes have not become events yet."""

    async def cover(self, key: RoomKey, seq: int, contents: NewContents | None = None) -> None:
        """Mark content up to log row ``seq`` as needing no further events, with what it says if it has changed.

        Does nothing if there is no entity.
        """

    async def unread(self, limit: int = 100) -> Sequence[Unread]:
        """Entities whose contents are searched but have not been read, in the order in which they were listed.

        Those are the documents that were there when the contents of their collection became searchable, and those of
        :attr:`Fact.contents` without a text.
        """

    async def save_contents(self, unread: Unread, contents: NewContents) -> None:
        """Store what an unread document says. Does nothing if that, or what is searched of it, has changed."""

    async def end_reading(self) -> None:
        """Let collections be searched of whose documents none is unread."""


class EntityStorage(Protocol):
    """Entities, their events, and the declared collections."""

    async def entity(self, key: RoomKey) -> EntityRow | None:
        """One entity, deleted or not."""

    async def children(self, project: str, collection: str, prefix: str) -> Sequence[EntityRow]:
        """The entities whose id begins with ``prefix``, deleted or not (those inside one document)."""

    async def half_deleted(self, collection: str, inside: str, limit: int) -> Sequence[RoomKey]:
        """Deleted entities of ``collection``, in any project, with living entities of ``inside`` in them:
        ``<id>:<key>``.
        """

    async def expired(self, before: float, limit: int) -> Sequence[RoomKey]:
        """Entities that were deleted before this time."""

    async def find(self, project: str, collection: str, query: Query) -> FoundRows:
        """The entities that a query selects, in its order, without deleted ones; from one consistent state."""

    async def find_each(self, project: str, collection: str, asked: KeysQuery) -> FoundEach:
        """What :meth:`find` returns for each key; from one consistent state."""

    async def find_contents(
        self, project: str, collection: str, ids: Sequence[str], paths: IndexPaths
    ) -> FoundContents:
        """Those of these entities that exist, with what their documents say; from one consistent state.

        Raises :class:`collab.errors.Unavailable` as :meth:`find` does for a search in ``paths``.
        """

    async def count(self, project: str, collection: str, query: Query) -> int:
        """The number of rows that :meth:`find` would return without ``limit`` and ``offset``."""

    async def aggregate(self, project: str, collection: str, aggregation: Aggregation) -> FoundGroups:
        """The groups of the living entities that match; from one consistent state.

        Without ``group_by`` there is one group, of all of them. Raises :class:`collab.errors.InvalidRequest` for more
        than :data:`collab.query.aggregate.MAX_GROUPS`.
        """

    async def index(self, collection: str, indexes: Sequence[IndexPaths]) -> None:
        """Have exactly these indexes of a collection for :meth:`find`, :meth:`count` and :meth:`aggregate`."""

    async def searchable(self, collection: str, paths: IndexPaths) -> None:
        """Have exactly these members of a collection's rows found by :meth:`find` and :meth:`count` with ``search``.

        On return, all rows are. Before, a search raises :class:`collab.errors.Unavailable`, as one in other members
        does. What is interrupted continues with the next call.

        With :data:`collab.query.search.CONTENTS` among the paths, documents are found by what they say, too. Those
        that are there already become :meth:`unread`, and a search raises :class:`collab.errors.Unavailable` until they
        have been read (:meth:`end_reading`).
        """

    async def request(self, project: str, caller: str, name: str) -> Requested | None:
        """The result of a caller's named write of the last day."""

    async def schemas(self, project: str) -> dict[str, tuple[int, bytes]]:
        """The last saved declarations of collections: name -> version, JSON."""

    async def save_schema(self, project: str, collection: str, version: int, schema: bytes) -> None:
        """Save a declaration."""

    async def positions(self, projects: Sequence[str] | None = None) -> Positions:
        """The newest position of these projects, or of every one."""

    async def span(self, project: str) -> Span:
        """The range of a project's stored events."""

    async def newest_at(self) -> float:
        """The time of the newest event, in seconds since the epoch; 0 if there was none."""

    async def events(
        self, project: str, after: int, *, limit: int, collection: str | None = None, entity: str | None = None
    ) -> Sequence[EntityEvent]:
        """Events of a project after a position, by position; ``entity`` only with its ``collection``."""

    async def history(self, key: RoomKey, *, before: int | None = None, limit: int = 50) -> Sequence[Version]:
        """Versions of one entity below ``before``, newest first."""

    async def seq_at(self, key: RoomKey, *, version: int | None = None, at: float | None = None) -> tuple[int, Version]:
        """The log row of an entity's version, or of its state at a time, and its newest event then.

        Raises :class:`collab.errors.NotFound` if there was none, or it is no longer stored.
        """


class ConsumerStorage(Protocol):
    """The progress of event consumers."""

    async def webhook_position(self, webhook: str, project: str) -> int | None:
        """The position up to which a webhook has processed a project's events; ``None`` if it has processed none."""

    async def save_webhook(self, webhook: str, project: str, position: int, dead: Sequence[DeadLetter] = ()) -> None:
        """Save a webhook's position in a project, and the events that it did not accept; each of them once.

        So a save whose answer was lost can be repeated.
        """

    async def dead_letters(self, webhook: str) -> Sequence[DeadLetter]:
        """Events that a webhook did not accept, oldest first."""


class AccessStorage(Protocol):
    """Tokens that are refused before they expire."""

    async def revoke(self, revocation: Revocation, now: float) -> None:
        """Save a revocation, in place of an earlier one of the same token or user, and forget those that ended."""

    async def revocations(self, now: float) -> Sequence[Revocation]:
        """The revocations that are kept longer than ``now``."""


class Storage(DocumentStorage, EntityStorage, ConsumerStorage, AccessStorage, Protocol):
    """The record: all parts, and operations on several of them."""

    async def open(self) -> None:
        """Create or migrate the schema. Raises :class:`StorageCorrupt` if the database must not be touched."""

    async def close(self) -> None:
        """Finish pending work and close the database."""

    async def commit(
        self, batch: Sequence[Append], facts: Sequence[Fact] = (), *, commit_id: CommitId | None = None
    ) -> Committed:
        """Append to the logs of any number of documents, and to the record of entities, in one transaction.

        Durable on return. A document is created with its first log row. Facts of one entity come in the order of their
        versions; the last one is its current state. Positions of a project increase by one in the order of commits and
        facts, from 1 (see :attr:`Positions.base`).

        With ``commit_id``, the commit leaves a receipt: repeated before the writer's next one, it gets the same answer
        and writes nothing. Raises :class:`ValueError`, and writes nothing, if the versions of an entity would have
        a gap, or if the writer has made a later commit already.
        """

    async def trim(self, before: float) -> None:
        """Delete events, old log rows and named requests from before this time, except each entity's newest event."""

    async def erase(self, keys: Sequence[RoomKey]) -> None:
        """Delete entities and their documents for good: log, snapshots, history, events, dead letters.

        Of named requests the names remain, so that no request is made again (:class:`Requested`).

        Positions are not assigned again. When this returns, the data is no longer on the disk. If it fails, they may be
        gone for readers already; the rest is deleted by the next call, or after the next start.
        """
