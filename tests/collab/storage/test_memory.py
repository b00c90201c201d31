"""The storage in memory beyond the contract: history for a limited time, or none."""

from __future__ import annotations

import pytest

from collab.errors import NotFound
from collab.storage.base import SetAside, Snapshot
from collab.storage.memory import MemoryStorage
from collab.testing.storage_case import KEY, entry


async def written(storage: MemoryStorage, rows: int) -> None:
    """Rows at 10, 20, 30 ... seconds, with a snapshot after every second one."""
    text = b""
    for seq in range(1, rows + 1):
        text += b"%d." % seq
        await storage.commit([entry(b"%d." % seq, at=10.0 * seq)])
        if seq % 2 == 0:
            await storage.replace_snapshot(KEY, Snapshot(seq, text, b""))


async def test_history_is_kept_for_the_configured_time() -> None:
    storage = MemoryStorage(history_seconds=50.0)
    await written(storage, 20)
    for seq in range(15, 21):
        expected = b"".join(b"%d." % number for number in range(1, seq + 1))
        assert b"".join(await storage.document_at(KEY, seq)) == expected
    with pytest.raises(NotFound):
        await storage.document_at(KEY, 5)


async def test_without_history_only_the_snapshot_and_later_rows_are_kept() -> None:
    storage = MemoryStorage(history_seconds=0)
    await written(storage, 5)
    for seq in (4, 5):
        expected = b"".join(b"%d." % number for number in range(1, seq + 1))
        assert b"".join(await storage.document_at(KEY, seq)) == expected
    with pytest.raises(NotFound):
        await storage.document_at(KEY, 3)


async def test_a_document_of_rows_that_were_all_set_aside_is_trimmed() -> None:
    storage = MemoryStorage()
    await storage.commit([entry(b"bad", at=10.0)])
    await storage.set_aside(SetAside(KEY, 1, b"bad", "damaged", 10.0))
    await storage.trim(100.0)
    record = await storage.load(KEY)
    assert record is not None
    assert record.snapshot is None
    assert list(record.rows) == []
