"""What the record plane asks of a database: :class:`Storage`, and the values that cross it.

A storage acknowledges after commit. A load error is never an absent document.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from collab.errors import Unavailable
from collab.names import RoomKey


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
class Record:
    """All that is durably known of a document.

    ``lineage`` is a random id given when it was created; ``None`` if nothing was ever committed, and only
    frames that were set aside are known under this name.
    """

    lineage: str | None
    snapshot: Snapshot | None
    rows: Sequence[LogRow]  # after the snapshot, by seq
    set_aside: Sequence[SetAside]


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

    async def commit(self, batch: Sequence[Append]) -> Sequence[int]:
        """Append to the logs of any number of documents in one transaction; durable on return.

        Returns the ``seq`` of each entry. Documents come into being with their first entry.
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
