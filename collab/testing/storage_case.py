"""What the storage contracts share: creating a storage, and test values."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

from collab.dates import iso_micros
from collab.event import EntityEvent, EventType, FieldConflict
from collab.names import RoomKey
from collab.storage.base import Append, EntityRow, Fact, IdempotencyKey, Record, Storage

KEY = RoomKey("acme", "documents", "doc_123")
OTHER = RoomKey("acme", "documents", "doc_456")


def entry(update: bytes, key: RoomKey = KEY, user_id: str | None = "ada", at: float = 1000.5) -> Append:
    """An update for the log."""
    return Append(key, update, user_id, at)


def updates(record: Record | None) -> list[bytes]:
    """The updates in a document's log."""
    return [] if record is None else [row.update for row in record.rows]


def fact(
    version: int,
    fields: dict[str, Any] | None = None,
    key: RoomKey = KEY,
    *,
    kind: EventType | None = None,
    at: float = 1000.5,
    row: int = -1,
    request: IdempotencyKey | None = None,
    user_id: str | None = "ada",
    changes: dict[str, dict[str, Any]] | None = None,
    conflicts: tuple[FieldConflict, ...] = (),
    content_seq: int = 0,
    heads: bytes = b"heads",
) -> Fact:
    """An event for the record. Without ``kind``: ``created`` for the first, ``updated`` for all others."""
    data = {"id": key.id, **(fields or {}), "createdAt": iso_micros(0.0), "updatedAt": iso_micros(at)}
    kind = kind or ("created" if version == 1 else "updated")
    event = EntityEvent(
        0, kind, key.collection, key.id, version, data, changes or {}, user_id, iso_micros(at), conflicts
    )
    return Fact(EntityRow(key, version, data, kind == "deleted", heads, content_seq), event, at, row, request)


class StorageCase:
    """Inherit, and implement :meth:`make`."""

    durable: ClassVar[bool] = True

    def make(self, where: Path) -> Storage:
        """A storage with its data in the folder ``where``; not open yet."""
        raise NotImplementedError

    @asynccontextmanager
    async def opened(self, where: Path) -> AsyncIterator[Storage]:
        """A storage, open inside the block."""
        storage = self.make(where)
        await storage.open()
        try:
            yield storage
        finally:
            await storage.close()

    @asynccontextmanager
    async def reopened(self, closed: Storage, where: Path) -> AsyncIterator[Storage]:
        """A closed storage as the next process finds it; or the same object if it is not durable."""
        storage = self.make(where) if self.durable else closed
        await storage.open()
        try:
            yield storage
        finally:
            await storage.close()
