"""Contract of current documents. Part of :mod:`collab.testing.storage_contract`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from collab.names import RoomKey
from collab.storage.base import CommitId, Committed, LogRow, SetAside, Snapshot
from collab.storage.releases import asked, failed
from collab.testing.storage_case import KEY, OTHER, StorageCase, entry, fact, updates


def _lists(committed: Committed) -> tuple[list[int], list[int]]:
    return list(committed.seqs), list(committed.positions)


class DocumentsContract(StorageCase):
    """Documents: their logs, their snapshots, and set-aside entries."""

    async def test_what_was_never_written_is_absent(self, tmp_path: Path) -> None:
        """Only an absent document gives ``None``."""
        async with self.opened(tmp_path) as storage:
            assert await storage.load(KEY) is None
            await storage.commit([entry(b"a", OTHER)])
            assert await storage.load(KEY) is None

    async def test_rows_come_back_as_they_were_in_the_order_of_their_commits(self, tmp_path: Path) -> None:
        """Each row keeps its bytes, author and time."""
        written = [
            entry(b"", at=1.0),
            entry(bytes(range(256)), user_id=None),
            entry(b"\x00" * 300_000, at=1e9 + 0.25),
            entry(b"z", user_id="Zo\u00eb \U0001f600", at=0.0),
        ]
        async with self.opened(tmp_path) as storage:
            assert list((await storage.commit(written[:1])).seqs) == [1]
            assert list((await storage.commit(written[1:])).seqs) == [2, 3, 4]
            record = await storage.load(KEY)
        assert record is not None
        assert record.snapshot is None
        assert list(record.set_aside) == []
        assert list(record.rows) == [
            LogRow(seq, sent.update, sent.user_id, sent.at) for seq, sent in enumerate(written, 1)
        ]

    async def test_one_commit_holds_rows_of_many_documents(self, tmp_path: Path) -> None:
        """Each document counts its own rows."""
        keys = [RoomKey(project, "notes", f"n{number}") for project in ("a", "b") for number in range(5)]
        batch = [entry(f"{turn}".encode(), key) for turn in range(3) for key in keys]
        async with self.opened(tmp_path) as storage:
            assert list((await storage.commit(batch)).seqs) == [1] * 10 + [2] * 10 + [3] * 10
            for key in keys:
                assert updates(await storage.load(key)) == [b"0", b"1", b"2"]

    async def test_similar_names_are_different_documents(self, tmp_path: Path) -> None:
        """No encoding of names may confuse two documents."""
        keys = [
            RoomKey("a", "b:c", "d"),
            RoomKey("a:b", "c", "d"),
            RoomKey("a", "b", "c:d"),
            RoomKey("a", "b.c", "d"),
            RoomKey("A", "b", "c:d"),
            RoomKey("a", "b", "C:d"),
        ]
        async with self.opened(tmp_path) as storage:
            await storage.commit([entry(str(key).encode(), key) for key in keys])
            for key in keys:
                assert updates(await storage.load(key)) == [str(key).encode()]

    async def test_a_repeated_commit_gets_the_same_answer_and_writes_nothing(self, tmp_path: Path) -> None:
        """Until its writer makes the next one, also after a restart."""
        first, second, other = CommitId("w", 1), CommitId("w", 2), CommitId("v", 1)
        batch, facts = [entry(b"1"), entry(b"2"), entry(b"x", OTHER)], [fact(1, row=1), fact(1, key=OTHER)]
        async with self.opened(tmp_path) as storage:
            assert _lists(await storage.commit(batch, facts, commit_id=first)) == ([1, 2, 1], [1, 2])
            assert _lists(await storage.commit([entry(b"3")], [fact(2)], commit_id=other)) == ([3], [3])
        async with self.reopened(storage, tmp_path) as storage:
            for _ in range(2):
                assert _lists(await storage.commit(batch, facts, commit_id=first)) == ([1, 2, 1], [1, 2])
            assert updates(await storage.load(KEY)) == [b"1", b"2", b"3"]
            assert updates(await storage.load(OTHER)) == [b"x"]
            assert await storage.span("acme") == (0, 3)
            with pytest.raises(ValueError, match="does not follow"):
                await storage.commit([entry(b"4")], [fact(5)], commit_id=second)
            assert _lists(await storage.commit([entry(b"4")], [fact(3)], commit_id=second)) == ([4], [4])
            with pytest.raises(ValueError, match="cannot be repeated"):
                await storage.commit(batch, facts, commit_id=first)
            assert _lists(await storage.commit([], [], commit_id=second)) == ([4], [4])
            assert updates(await storage.load(KEY)) == [b"1", b"2", b"3", b"4"]

    async def test_a_cancelled_commit_can_be_repeated(self, tmp_path: Path) -> None:
        """Whether or not it was done, each row is stored once, in order."""
        async with self.opened(tmp_path) as storage:
            for number in range(1, 31):
                commit_id, batch, facts = CommitId("w", number), [entry(bytes([number]))], [fact(number, row=0)]
                attempt = asyncio.create_task(storage.commit(batch, facts, commit_id=commit_id))
                for _ in range(number % 7):
                    await asyncio.sleep(0)
                attempt.cancel()
                await asyncio.gather(attempt, return_exceptions=True)
                assert _lists(await storage.commit(batch, facts, commit_id=commit_id)) == ([number], [number])
            assert updates(await storage.load(KEY)) == [bytes([number]) for number in range(1, 31)]
            assert [event.version for event in await storage.events("acme", 0, limit=100)] == list(range(1, 31))

    async def test_an_empty_commit_changes_nothing(self, tmp_path: Path) -> None:
        """An empty commit is not an error either."""
        async with self.opened(tmp_path) as storage:
            assert list((await storage.commit([])).seqs) == []
            assert await storage.load(KEY) is None

    async def test_the_order_of_rows_does_not_depend_on_the_clock(self, tmp_path: Path) -> None:
        """The clock steps back; the order of the log does not."""
        times = [1000.0, 990.0, 1000.0, 970.0, 0.0, 5000.0]
        async with self.opened(tmp_path) as storage:
            for number, at in enumerate(times):
                await storage.commit([entry(bytes([number]), at=at)])
            await storage.replace_snapshot(KEY, Snapshot(2, b"s", b"i"))
            await storage.commit([entry(b"\x06", at=-1.0)])
            record = await storage.load(KEY)
        assert updates(record) == [bytes([number]) for number in range(2, 7)]

    async def test_a_snapshot_replaces_the_rows_up_to_its_own(self, tmp_path: Path) -> None:
        """Later rows stay."""
        async with self.opened(tmp_path) as storage:
            await storage.commit([entry(b"1"), entry(b"2"), entry(b"3"), entry(b"x", OTHER)])
            snapshot = Snapshot(2, b"state" * 1000, b"index" * 1000)
            await storage.replace_snapshot(KEY, snapshot)
            record = await storage.load(KEY)
            assert record is not None
            assert record.snapshot == snapshot
            assert updates(record) == [b"3"]
            assert updates(await storage.load(OTHER)) == [b"x"]

    async def test_a_newer_snapshot_is_not_replaced_by_an_older_one(self, tmp_path: Path) -> None:
        """A snapshot that was computed slowly arrives too late."""
        async with self.opened(tmp_path) as storage:
            await storage.commit([entry(b"1"), entry(b"2"), entry(b"3")])
            newer = Snapshot(2, b"1+2", b"")
            await storage.replace_snapshot(KEY, newer)
            await storage.replace_snapshot(KEY, Snapshot(1, b"1", b""))
            record = await storage.load(KEY)
        assert record is not None
        assert record.snapshot == newer
        assert updates(record) == [b"3"]

    async def test_a_snapshot_cannot_cover_what_was_never_logged(self, tmp_path: Path) -> None:
        """It would hide future rows."""
        async with self.opened(tmp_path) as storage:
            with pytest.raises(ValueError, match="row 1"):
                await storage.replace_snapshot(KEY, Snapshot(1, b"", b""))
            await storage.commit([entry(b"1")])
            with pytest.raises(ValueError, match="row 2"):
                await storage.replace_snapshot(KEY, Snapshot(2, b"", b""))
            assert updates(await storage.load(KEY)) == [b"1"]

    async def test_a_seq_is_never_given_twice(self, tmp_path: Path) -> None:
        """Not even after the log was cut, a row was set aside, or a restart."""
        async with self.opened(tmp_path) as storage:
            assert list((await storage.commit([entry(b"1"), entry(b"2")])).seqs) == [1, 2]
            await storage.replace_snapshot(KEY, Snapshot(2, b"s", b""))
            assert list((await storage.commit([entry(b"3")])).seqs) == [3]
            await storage.set_aside(SetAside(KEY, 3, b"3", "hostile", 1.0))
            if not self.durable:
                assert list((await storage.commit([entry(b"4")])).seqs) == [4]
        if self.durable:
            async with self.opened(tmp_path) as storage:
                assert list((await storage.commit([entry(b"4")])).seqs) == [4]
                await storage.replace_snapshot(KEY, Snapshot(4, b"s", b""))
            async with self.opened(tmp_path) as storage:
                assert list((await storage.commit([entry(b"5")])).seqs) == [5]

    async def test_a_document_keeps_its_lineage_and_another_has_another(self, tmp_path: Path) -> None:
        """The lineage distinguishes a document from a later one of the same name."""
        async with self.opened(tmp_path) as storage:
            await storage.commit([entry(b"1"), entry(b"1", OTHER)])
            first, other = await storage.load(KEY), await storage.load(OTHER)
            await storage.commit([entry(b"2")])
            await storage.replace_snapshot(KEY, Snapshot(2, b"s", b""))
            again = await storage.load(KEY)
        assert first is not None
        assert other is not None
        assert again is not None
        assert first.lineage
        assert first.lineage == again.lineage
        assert first.lineage != other.lineage

    async def test_only_one_of_many_concurrent_creations_succeeds(self, tmp_path: Path) -> None:
        """Twenty try concurrently; one succeeds."""
        async with self.opened(tmp_path) as storage:
            outcomes = await asyncio.gather(*(storage.create(entry(bytes([number]))) for number in range(20)))
            assert sorted(outcomes) == [False] * 19 + [True]
            assert updates(await storage.load(KEY)) == [bytes([outcomes.index(True)])]
            await storage.commit([entry(b"x", OTHER)])
            assert not await storage.create(entry(b"seed", OTHER))
            assert updates(await storage.load(OTHER)) == [b"x"]

    async def test_what_is_set_aside_leaves_the_log_and_is_kept(self, tmp_path: Path) -> None:
        """The bytes and the reason are kept."""
        async with self.opened(tmp_path) as storage:
            await storage.commit([entry(b"1"), entry(b"2"), entry(b"3")])
            aside = SetAside(KEY, 2, b"2", "ended a worker", 1234.5)
            await storage.set_aside(aside)
            record = await storage.load(KEY)
            assert updates(record) == [b"1", b"3"]
            assert record is not None
            assert list(record.set_aside) == [aside]

    async def test_releases_that_are_asked_for_are_found(self, tmp_path: Path) -> None:
        """And neither those that failed, nor other entries."""
        async with self.opened(tmp_path) as storage:
            for number, reason in enumerate(
                ["ended a worker", asked("ended a worker"), failed("it", "why"), asked("it")]
            ):
                await storage.set_aside(SetAside(KEY, None, bytes([number]), reason, float(number)))
            found = await storage.releases()
            assert [(entry.update, entry.reason) for entry in found] == [
                (b"\x01", asked("ended a worker")),
                (b"\x03", asked("it")),
            ]

    async def test_a_frame_is_set_aside_before_its_document_exists(self, tmp_path: Path) -> None:
        """The next load must return it, and it must not prevent seeding."""
        aside = SetAside(KEY, None, b"\x01\x00", "ended a worker", 1.0)
        async with self.opened(tmp_path) as storage:
            await storage.set_aside(aside)
            record = await storage.load(KEY)
            assert record is not None
            assert record.lineage is None
            assert list(record.set_aside) == [aside]
            assert await storage.load(OTHER) is None
            assert await storage.create(entry(b"seed"))
            record = await storage.load(KEY)
            assert record is not None
            assert record.lineage
            assert updates(record) == [b"seed"]
            assert list(record.set_aside) == [aside]

    async def test_the_same_frame_is_set_aside_once(self, tmp_path: Path) -> None:
        """No matter how often it is reported."""
        first = SetAside(KEY, None, b"a", "ended a worker", 1.0)
        second = SetAside(RoomKey("zeta", "documents", "d"), None, b"a", "hung", 0.5)
        async with self.opened(tmp_path) as storage:
            for aside in (first, second, first, SetAside(KEY, None, b"a", "again", 9.0)):
                await storage.set_aside(aside)
            assert list(await storage.list_set_aside()) == [first, second]
            assert list(await storage.list_set_aside("zeta")) == [second]
            assert list(await storage.list_set_aside("nobody")) == []

    async def test_a_load_sees_one_consistent_state(self, tmp_path: Path) -> None:
        """During commits and compaction, nothing is missing and nothing appears twice."""
        async with self.opened(tmp_path) as storage:
            await storage.commit([entry(b"\x01")])
            stop = asyncio.Event()

            async def write() -> None:
                seq = 1
                while not stop.is_set():
                    ((seq,), _) = await storage.commit([entry(bytes([seq % 256]))])
                    if seq % 3 == 0:
                        await storage.replace_snapshot(KEY, Snapshot(seq - 1, str(seq - 1).encode(), b""))

            writer = asyncio.create_task(write())
            try:
                for _ in range(100):
                    record = await storage.load(KEY)
                    assert record is not None
                    start = record.snapshot.seq if record.snapshot is not None else 0
                    assert [row.seq for row in record.rows] == list(range(start + 1, start + 1 + len(record.rows)))
            finally:
                stop.set()
                await writer

    async def test_everything_is_there_after_a_restart(self, tmp_path: Path) -> None:
        """Snapshot, log, and set-aside entries."""
        if not self.durable:
            return
        async with self.opened(tmp_path) as storage:
            await storage.commit([entry(b"1"), entry(b"2"), entry(b"3")])
            await storage.replace_snapshot(KEY, Snapshot(1, b"state", b"index"))
            await storage.set_aside(SetAside(KEY, 2, b"2", "hung", 1.0))
            before = await storage.load(KEY)
        async with self.opened(tmp_path) as storage:
            after = await storage.load(KEY)
        assert before is not None
        assert after is not None
        assert (after.lineage, after.snapshot) == (before.lineage, before.snapshot)
        assert list(after.rows) == list(before.rows)
        assert list(after.set_aside) == list(before.set_aside)
