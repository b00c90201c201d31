"""A record that lives as long as its process: for tests and demonstrations. Nothing in it is durable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from secrets import token_hex

from collab.names import RoomKey
from collab.storage.base import Append, LogRow, Record, SetAside, Snapshot


@dataclass(slots=True)
class _Document:
    lineage: str
    seq: int = 0
    snapshot: Snapshot | None = None
    rows: list[LogRow] = field(default_factory=list)


class MemoryStorage:
    """A :class:`collab.storage.base.Storage` without a disk. Closing it forgets nothing."""

    def __init__(self) -> None:
        self._documents: dict[RoomKey, _Document] = {}
        self._set_aside: list[SetAside] = []

    async def open(self) -> None:
        """There is nothing to prepare."""

    async def close(self) -> None:
        """There is nothing to finish."""

    async def load(self, key: RoomKey) -> Record | None:
        """Read a document; ``None`` only if nothing was ever written under its name."""
        aside = [entry for entry in self._set_aside if entry.key == key]
        document = self._documents.get(key)
        if document is None:
            return Record(None, None, (), aside) if aside else None
        return Record(document.lineage, document.snapshot, tuple(document.rows), aside)

    async def commit(self, batch: Sequence[Append]) -> Sequence[int]:
        """Append to the logs of any number of documents."""
        return [self._append(entry) for entry in batch]

    async def create(self, append: Append) -> bool:
        """Append only if the document does not exist yet. Returns whether it did so."""
        if append.key in self._documents:
            return False
        self._append(append)
        return True

    async def replace_snapshot(self, key: RoomKey, snapshot: Snapshot) -> None:
        """Store ``snapshot`` and cut the log up to ``snapshot.seq``, unless there is a newer one."""
        document = self._documents.get(key)
        if document is None or document.seq < snapshot.seq:
            raise ValueError(f"{key} has no row {snapshot.seq}")
        if document.snapshot is None or document.snapshot.seq <= snapshot.seq:
            document.snapshot = snapshot
            document.rows = [row for row in document.rows if row.seq > snapshot.seq]

    async def set_aside(self, entry: SetAside) -> None:
        """Keep ``entry``, once; if it names a log row, that row leaves the log."""
        same = (entry.key, entry.seq, entry.update)
        if not any((kept.key, kept.seq, kept.update) == same for kept in self._set_aside):
            self._set_aside.append(entry)
        document = self._documents.get(entry.key)
        if document is not None:
            document.rows = [row for row in document.rows if row.seq != entry.seq]

    async def list_set_aside(self, project: str | None = None) -> Sequence[SetAside]:
        """All that was set aside, of one project or of all, oldest first."""
        return [entry for entry in self._set_aside if project is None or entry.key.project == project]

    def _append(self, entry: Append) -> int:
        document = self._documents.get(entry.key)
        if document is None:
            document = self._documents[entry.key] = _Document(token_hex(8))
        document.seq += 1
        document.rows.append(LogRow(document.seq, entry.update, entry.user_id, entry.at))
        return document.seq
