"""What a record in memory holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from secrets import token_hex

from collab.access.revocations import Revocation
from collab.event import EntityEvent
from collab.names import RoomKey
from collab.storage.base import (
    Committed,
    DeadLetter,
    EntityRow,
    LogRow,
    Requested,
    SetAside,
    Snapshot,
    Span,
    Version,
)
from collab.storage.memory_nodes import MemoryNodes


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
    webhooks: dict[tuple[str, str], int] = field(default_factory=dict)
    dead: dict[str, list[DeadLetter]] = field(default_factory=dict)
    revocations: dict[tuple[str, str, str], Revocation] = field(default_factory=dict)


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
