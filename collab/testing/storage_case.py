"""What the contracts of storages share: how one is made, and values to put into it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

from collab.dates import iso
from collab.event import Conflict, EntityEvent, EventType
from collab.names import RoomKey
from collab.storage.base import Append, EntityRow, Fact, Record, Storage

KEY = RoomKey("acme", "documents", "doc_123")
OTHER = RoomKey("acme", "documents", "doc_456")


def entry(update: bytes, key: RoomKey = KEY, user_id: str | None = "ada", at: float = 1000.5) -> Append:
    """An update on its way into a log."""
    return Append(key, update, user_id, at)


def updates(record: Record | None) -> list[bytes]:
    """What the log of a document holds."""
    return [] if record is None else [row.update for row in record.rows]


def fact(
    version: int,
    fields: dict[str, Any] | None = None,
    key: RoomKey = KEY,
    *,
    kind: EventType | None = None,
    at: float = 1000.5,
    row: int = -1,
    request: str | None = None,
    user_id: str | None = "ada",
    changes: dict[str, dict[str, Any]] | None = None,
    conflicts: tuple[Conflict, ...] = (),
    content_seq: int = 0,
    heads: bytes = b"heads",
) -> Fact:
    """An event on its way into the record. Without ``kind``: ``created`` the first, ``updated`` all others."""
    data = {"id": key.id, **(fields or {}), "createdAt": iso(0.0), "updatedAt": iso(at)}
    kind = kind or ("created" if version == 1 else "updated")
    event = EntityEvent(0, kind, key.collection, key.id, version, data, changes or {}, user_id, iso(at), conflicts)
    return Fact(EntityRow(key, version, data, kind == "deleted", heads, content_seq), event, at, row, request)


class StorageCase:
    """Inherit, and say how a storage is made."""

    durable: ClassVar[bool] = True

    def make(self, where: Path) -> Storage:
        """A storage that keeps its data in the folder ``where``; not open yet."""
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
        """What was closed, as the next process finds it; or the same again where nothing outlives its process."""
        if not self.durable:
            yield closed
            return
        async with self.opened(where) as storage:
            yield storage
