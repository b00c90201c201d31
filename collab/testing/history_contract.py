"""Contract of past documents. Part of :mod:`collab.testing.storage_contract`."""

from __future__ import annotations

import asyncio
from itertools import accumulate
from pathlib import Path
from random import Random

import pytest

from collab.errors import NotFound
from collab.names import RoomKey
from collab.storage.base import LogRow, SetAside, Snapshot, Storage
from collab.testing.storage_case import KEY, OTHER, StorageCase, entry, fact, updates


def letter(seq: int) -> bytes:
    return bytes([64 + seq])


def text(seq: int, without: str = "") -> bytes:
    """The letters up to ``seq``."""
    return bytes(byte for number in range(1, seq + 1) for byte in letter(number) if chr(byte) not in without)


async def text_at(storage: Storage, seq: int) -> bytes:
    """The document after row ``seq``."""
    return b"".join(await storage.document_at(KEY, seq))


class HistoryContract(StorageCase):
    """In these documents an update is a letter, and a snapshot the letters up to it."""

    async def test_a_document_whose_content_needs_no_events_is_covered(self, tmp_path: Path) -> None:
        """It is no longer listed, even after a restart."""
        async with self.opened(tmp_path) as storage:
            await storage.commit([entry(b"a"), entry(b"b")], [fact(1)])
            assert list(await storage.uncovered()) == [KEY]
            await storage.cover(KEY, 2)
            await storage.cover(KEY, 1)
            assert list(await storage.uncovered()) == []
            row = await storage.entity(KEY)
            assert row is not None
            assert row.content_seq == 2
        async with self.opened(tmp_path) as storage:
            assert list(await storage.uncovered()) == []

    async def test_a_document_is_read_as_it_was_after_any_row(self, tmp_path: Path) -> None:
        """However often a snapshot replaced its log, and after a restart."""
        async with self.opened(tmp_path) as storage:
            for seq in range(1, 21):
                await storage.commit([entry(letter(seq)), entry(b"other", OTHER)])
                if seq % 4 == 0:
                    await storage.replace_snapshot(KEY, Snapshot(seq - 1, text(seq - 1), b""))
                assert [await text_at(storage, at) for at in range(seq + 1)] == [text(at) for at in range(seq + 1)]
            assert updates(await storage.load(KEY)) == [letter(20)]
        if self.durable:
            async with self.opened(tmp_path) as storage:
                assert [await text_at(storage, at) for at in range(21)] == [text(at) for at in range(21)]

    async def test_what_was_never_written_is_not_found(self, tmp_path: Path) -> None:
        """Neither a document nor a row."""
        async with self.opened(tmp_path) as storage:
            with pytest.raises(NotFound):
                await storage.document_at(KEY, 1)
            await storage.commit([entry(letter(1))])
            with pytest.raises(NotFound):
                await storage.document_at(KEY, 2)

    async def test_log_rows_are_known_behind_any_row(self, tmp_path: Path) -> None:
        """Including rows that a snapshot replaced."""
        rows = [LogRow(seq, letter(seq), f"user {seq}" if seq % 2 else None, seq / 4) for seq in range(1, 10)]
        async with self.opened(tmp_path) as storage:
            await storage.commit([entry(row.update, user_id=row.user_id, at=row.at) for row in rows])
            for seq in (3, 6):
                await storage.replace_snapshot(KEY, Snapshot(seq, text(seq), b""))
            for seq in range(11):
                assert list(await storage.log_after(KEY, seq)) == rows[seq:]
            assert list(await storage.log_after(OTHER, 0)) == []

    async def test_what_was_set_aside_is_in_no_version(self, tmp_path: Path) -> None:
        """From then on."""
        async with self.opened(tmp_path) as storage:
            await storage.commit([entry(letter(seq)) for seq in range(1, 7)])
            for seq in (1, 4, 6):
                await storage.set_aside(SetAside(KEY, seq, letter(seq), "hostile", 1.0))
            for _ in range(2):
                assert [await text_at(storage, at) for at in range(7)] == [text(at, "ADF") for at in range(7)]
                await storage.replace_snapshot(KEY, Snapshot(5, text(5, "AD"), b""))

    async def test_a_document_with_only_set_aside_rows_has_an_empty_history(self, tmp_path: Path) -> None:
        async with self.opened(tmp_path) as storage:
            await storage.commit([entry(letter(1)), entry(letter(2)), entry(letter(3))])
            for seq in (1, 2):
                await storage.set_aside(SetAside(KEY, seq, letter(seq), "hostile", 1.0))
            await storage.replace_snapshot(KEY, Snapshot(2, b"", b""))
            assert [await text_at(storage, at) for at in range(4)] == [b"", b"", b"", b"C"]

    async def test_rows_may_be_set_aside_while_a_snapshot_is_stored(self, tmp_path: Path) -> None:
        """In either order, both complete."""
        async with self.opened(tmp_path) as storage:
            await storage.commit([entry(letter(seq)) for seq in range(1, 11)])
            await asyncio.gather(
                storage.replace_snapshot(KEY, Snapshot(10, text(10), b"")),
                storage.set_aside(SetAside(KEY, 5, letter(5), "hostile", 1.0)),
                storage.commit([entry(letter(11))]),
            )
            assert await text_at(storage, 9) in (text(9), text(9, "E"))
            assert await text_at(storage, 11) == text(11)
            assert len(await storage.list_set_aside()) == 1

    async def test_a_long_log_is_replaced_while_others_read_and_write(self, tmp_path: Path) -> None:
        """Whatever is read meanwhile reads the same, however much of the log has been moved."""
        words = Random(4)  # noqa: S311
        rows = [LogRow(seq, words.randbytes(9_000), "ada", seq / 4) for seq in range(1, 121)]
        texts = list(accumulate((row.update for row in rows), initial=b""))
        async with self.opened(tmp_path) as storage:
            await storage.commit([entry(row.update, user_id=row.user_id, at=row.at) for row in rows])
            for seq in (70, 120):
                replacing = asyncio.create_task(storage.replace_snapshot(KEY, Snapshot(seq, texts[seq], b"i" * 999)))
                commits = 0
                while not replacing.done():
                    commits += 1
                    await asyncio.sleep(0)
                    await storage.commit([entry(b"x", OTHER)])
                    await storage.commit([], [fact(commits, key=RoomKey("acme", "tasks", f"t{seq}"))])
                    record = await storage.load(KEY)
                    assert record is not None
                    start = record.snapshot.seq if record.snapshot is not None else 0
                    assert list(record.rows) == rows[start:]
                    assert record.snapshot is None or record.snapshot.update == texts[start]
                    for at in (1, 30, 70, 71, 100, 120):
                        assert b"".join(await storage.document_at(KEY, at)) == texts[at]
                    assert list(await storage.log_after(KEY, 40)) == rows[40:]
                await replacing
                assert commits
            record = await storage.load(KEY)
            assert record is not None
            assert (record.snapshot, list(record.rows)) == (Snapshot(120, texts[120], b"i" * 999), [])

    async def test_a_replacement_that_is_cancelled_leaves_a_document_that_reads_the_same(self, tmp_path: Path) -> None:
        """The next one completes it, also after a restart."""
        words = Random(5)  # noqa: S311
        texts = [b""]
        async with self.opened(tmp_path) as storage:
            for number in range(12):
                rows = [words.randbytes(30_000) for _ in range(10)]
                await storage.commit([entry(row) for row in rows])
                texts += [texts[-1] + b"".join(rows[: count + 1]) for count in range(10)]
                replacing = asyncio.create_task(
                    storage.replace_snapshot(KEY, Snapshot(len(texts) - 1, texts[-1], b"index"))
                )
                for _ in range(10 * number):
                    await asyncio.sleep(0)
                replacing.cancel()
                await asyncio.gather(replacing, return_exceptions=True)
                for seq in (1, 10 * number + 1, len(texts) - 1):
                    assert b"".join(await storage.document_at(KEY, seq)) == texts[seq]
        async with self.reopened(storage, tmp_path) as storage:
            last = len(texts) - 1
            await storage.replace_snapshot(KEY, Snapshot(last, texts[last], b"index"))
            record = await storage.load(KEY)
            assert record is not None
            assert (record.snapshot, list(record.rows)) == (Snapshot(last, texts[last], b"index"), [])
            for seq in range(last + 1):
                assert b"".join(await storage.document_at(KEY, seq)) == texts[seq]

    async def test_trimming_deletes_old_versions_and_no_newer_ones(self, tmp_path: Path) -> None:
        """A version before the time may still exist, but is never a different one."""
        async with self.opened(tmp_path) as storage:
            for seq in range(1, 21):
                await storage.commit([entry(letter(seq), at=float(seq))])
                if seq % 3 == 0:
                    await storage.replace_snapshot(KEY, Snapshot(seq, text(seq), b""))
            forgotten = 0
            for before in (0.5, 7.5, 12.5, 18.0, 30.0):
                await storage.trim(before)
                for seq in range(1, 21):
                    try:
                        assert await text_at(storage, seq) == text(seq)
                    except NotFound:
                        assert seq < before - 1
                        forgotten += 1
            assert forgotten
            with pytest.raises(NotFound):
                await text_at(storage, 17)
            for seq in range(21, 25):
                await storage.commit([entry(letter(seq), at=float(seq))])
            await storage.replace_snapshot(KEY, Snapshot(24, text(24), b""))
            assert [await text_at(storage, at) for at in range(18, 25)] == [text(at) for at in range(18, 25)]
            assert updates(await storage.load(KEY)) == []

    async def test_a_version_names_the_row_its_document_is_read_with(self, tmp_path: Path) -> None:
        """From an event to the document at its time."""
        async with self.opened(tmp_path) as storage:
            for seq in range(1, 7):
                await storage.commit([entry(letter(seq), at=float(seq))], [fact(seq, row=0, at=float(seq))])
            await storage.replace_snapshot(KEY, Snapshot(5, text(5), b""))
            for version in range(1, 7):
                seq, _ = await storage.seq_at(KEY, version=version)
                assert await text_at(storage, seq) == text(version)
            seq, found = await storage.seq_at(KEY, at=3.5)
            assert (await text_at(storage, seq), found.event.version) == (text(3), 3)
