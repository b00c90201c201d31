"""Copies a record from one storage to another, whatever they are.

Each storage has a :class:`RecordSource`, which reads its record as the rows below, and a :class:`RecordTarget`, which
writes such rows. Numbers of documents and entities, lineages, versions, positions and the epoch stay the same, so
cursors of clients and the progress of webhooks stay valid. Receipts of commits are left out: only the process that made
a commit asks for its receipt, and that process has ended.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

import msgspec

from collab.errors import CollabError, DocumentDamaged
from collab.names import RoomKey
from collab.storage.codec import from_json

BATCH_ROWS: Final = 1000
"""The most rows of a batch."""

BATCH_BYTES: Final = 4 * 1024 * 1024
"""The most bytes of a batch, unless it is a single row."""


class TargetNotEmpty(CollabError):
    """The target of a copy holds a record already. It was not touched."""


class CopiedHead(NamedTuple):
    """What a record has once. See :class:`collab.storage.base.Positions` for ``epoch`` and ``base``."""

    epoch: str
    base: int
    newest_at: float


class CopiedProject(NamedTuple):
    """Events of ``project`` after ``oldest`` are stored; ``newest`` is the last position that was assigned."""

    project: str
    oldest: int
    newest: int


class CopiedEntity(NamedTuple):
    """An entity. ``data`` is JSON; times are in seconds since the epoch, here and below."""

    number: int
    project: str
    collection: str
    id: str
    version: int
    deleted: bool
    data: str
    heads: bytes
    content_seq: int
    created_at: float
    updated_at: float


class CopiedEvent(NamedTuple):
    """An event of the entity with this number. ``data``, ``changes`` and ``conflicts`` are JSON."""

    project: str
    position: int
    entity: int
    version: int
    type: str
    seq: int
    user_id: str | None
    at: float
    data: str
    changes: str
    conflicts: str | None


class CopiedRequest(NamedTuple):
    """A named write, whose result is a version of the entity with this number; 0 if that has been erased."""

    project: str
    caller: str
    name: str
    digest: bytes
    entity: int
    version: int
    at: float


class CopiedDocument(NamedTuple):
    """A document, whose content are the next four kinds of rows."""

    number: int
    project: str
    collection: str
    id: str
    lineage: str
    created_at: float


class CopiedUpdate(NamedTuple):
    """A row of a log. ``intact``: whether it matches its checksum, here and below."""

    document: int
    seq: int
    content: bytes
    user_id: str | None
    at: float
    intact: bool


class CopiedSnapshot(NamedTuple):
    """The newest snapshot of a document and the index of its gate, compressed with zlib."""

    document: int
    seq: int
    content: bytes
    gate: bytes
    intact: bool


class CopiedPiece(NamedTuple):
    """A :class:`collab.storage.codec.Piece` of a document's history."""

    document: int
    from_seq: int
    to_seq: int
    from_at: float
    to_at: float
    content: bytes
    intact: bool


class CopiedBase(NamedTuple):
    """An earlier snapshot of a document, compressed with zlib."""

    document: int
    seq: int
    content: bytes
    intact: bool


class CopiedAside(NamedTuple):
    """See :class:`collab.storage.base.SetAside`."""

    project: str
    collection: str
    id: str
    seq: int | None
    content: bytes
    reason: str
    at: float


class CopiedUncovered(NamedTuple):
    """A document whose content changes have not become events yet; the longest waiting come first."""

    document: int


class CopiedSchema(NamedTuple):
    """The declaration of a collection, as JSON."""

    project: str
    collection: str
    version: int
    content: bytes


class CopiedRevocation(NamedTuple):
    """A token, or the tokens of a user, that are refused before they expire."""

    project: str
    kind: str
    name: str
    issued_before: float
    kept_until: float


class CopiedWebhook(NamedTuple):
    """The progress of a webhook in a project."""

    name: str
    project: str
    position: int


class CopiedDeadLetter(NamedTuple):
    """See :class:`collab.storage.base.DeadLetter`. ``event`` is JSON; ``collection`` and ``id`` are those in it."""

    webhook: str
    project: str
    collection: str
    id: str
    event: str
    reason: str
    at: float


CopiedContent: TypeAlias = CopiedUpdate | CopiedSnapshot | CopiedPiece | CopiedBase
Copied: TypeAlias = (
    CopiedHead
    | CopiedProject
    | CopiedEntity
    | CopiedEvent
    | CopiedRequest
    | CopiedDocument
    | CopiedContent
    | CopiedAside
    | CopiedUncovered
    | CopiedSchema
    | CopiedRevocation
    | CopiedWebhook
    | CopiedDeadLetter
)

KINDS: Final[dict[type[Copied], str]] = {
    CopiedUpdate: "row",
    CopiedSnapshot: "the snapshot up to row",
    CopiedPiece: "the history up to row",
    CopiedBase: "the earlier snapshot up to row",
}
"""What content is called in messages, followed by a number."""


class Batch(NamedTuple):
    """Rows of one kind, and their size in bytes."""

    rows: Sequence[Copied]
    size: int


class CopyCounts(NamedTuple):
    """Numbers of documents, of entities and of events."""

    documents: int
    entities: int
    events: int


class Damage(NamedTuple):
    """Stored content of document ``key`` that does not match its checksum."""

    key: RoomKey
    content: CopiedContent

    def __str__(self) -> str:
        seq = self.content.to_seq if isinstance(self.content, CopiedPiece) else self.content.seq
        where = f"{self.key.name} in project {self.key.project}"
        return f"{KINDS[type(self.content)]} {seq} of {where} does not match its checksum"


class RecordSource(Protocol):
    """Reads a record that nobody writes meanwhile."""

    async def counts(self) -> CopyCounts:
        """What :meth:`batches` will yield."""

    def batches(self) -> AsyncGenerator[Batch, None]:
        """Everything in the record, documents after their content.

        Raises :class:`collab.storage.base.StorageError` if reading fails.
        """

    async def name_of(self, document: int) -> RoomKey:
        """The name of the document with this number."""


class RecordTarget(Protocol):
    """Writes a record that nobody can open before it is complete."""

    async def write(self, rows: Sequence[Copied]) -> None:
        """Write rows of one kind. Those that are not intact get a checksum that they do not match either.

        Raises :class:`collab.storage.base.StorageError` if writing fails, and :class:`DocumentDamaged` if rows cannot
        be written.
        """


@dataclass(slots=True)
class CopyProgress:
    """What has been copied of ``total``. ``size`` is in bytes, ``damaged`` the number of rows that are not intact."""

    total: CopyCounts
    documents: int = 0
    entities: int = 0
    events: int = 0
    size: int = 0
    damaged: int = 0


async def copy_record(
    source: RecordSource,
    target: RecordTarget,
    *,
    moved: Callable[[CopyProgress], object],
    damaged: Callable[[Damage], object],
) -> CopyProgress:
    """Copy everything. ``moved`` is called after each batch.

    Content that does not match its checksum is copied as it is: what the source refuses to load, the target refuses
    too. ``damaged`` is called with each. Raises the errors of both ends.
    """
    progress = CopyProgress(await source.counts())
    async with aclosing(source.batches()) as batches:
        async for batch in batches:
            await target.write(batch.rows)
            for row in not_intact(batch.rows):
                damaged(Damage(await source.name_of(row.document), row))
                progress.damaged += 1
            count_batch(progress, batch)
            moved(progress)
    return progress


def count_batch(progress: CopyProgress, batch: Batch) -> None:
    """Add what a batch holds."""
    progress.size += batch.size
    match batch.rows[0]:
        case CopiedDocument():
            progress.documents += len(batch.rows)
        case CopiedEntity():
            progress.entities += len(batch.rows)
        case CopiedEvent():
            progress.events += len(batch.rows)


def not_intact(rows: Iterable[Copied]) -> Iterator[CopiedContent]:
    """The rows of content that do not match their checksums."""
    for row in rows:
        if isinstance(row, CopiedContent) and not row.intact:
            yield row


def portions(sizes: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Divide rows of these sizes into batches: the number of rows of each, and their size together."""
    count = total = 0
    for size in sizes:
        if count and (count == BATCH_ROWS or total + size > BATCH_BYTES):
            yield count, total
            count = total = 0
        count += 1
        total += size
    if count:
        yield count, total


def data_of(entity: CopiedEntity) -> dict[str, Any]:
    """The fields of an entity. Raises :class:`DocumentDamaged` if they are not JSON."""
    try:
        return from_json(entity.data)
    except msgspec.DecodeError:
        name = RoomKey(entity.project, entity.collection, entity.id).name
        raise DocumentDamaged(f"the stored fields of {name} in project {entity.project} are damaged") from None
