"""The recorder commits everything that is appended, in order and once, whatever the storage does."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collab.entities import recorder as recorders
from collab.entities.entity import EntityOp, EntityState, Intent
from collab.entities.feed import Feed
from collab.entities.recorder import Recorder, pause_after
from collab.errors import Unavailable
from collab.names import RoomKey
from collab.storage.base import Append, CommitId, Committed, Fact, Span, StorageError
from collab.storage.memory import MemoryStorage
from collab.storage.sqlite.storage import SqliteStorage
from collab.testing.storage_case import KEY, OTHER, entry, updates


class Gated(MemoryStorage):
    """A storage whose commits wait for a gate, and fail while it has errors left."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()
        self.errors: list[Exception] = []
        self.batches: list[list[bytes]] = []
        self.running = 0

    async def commit(
        self, batch: Sequence[Append], facts: Sequence[Fact] = (), *, commit_id: CommitId | None = None
    ) -> Committed:
        self.running += 1
        try:
            assert self.running == 1, "one commit at a time"
            await self.gate.wait()
            if self.errors:
                raise self.errors.pop(0)
            self.batches.append([entry.update for entry in batch])
            return await super().commit(batch, facts, commit_id=commit_id)
        finally:
            self.running -= 1


@asynccontextmanager
async def running(recorder: Recorder) -> AsyncIterator[None]:
    task = asyncio.create_task(recorder.run())
    await asyncio.sleep(0)  # a task that never began does not notice that it is cancelled
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def ignore(seq: int | None) -> None:
    pass


async def test_done_is_called_with_the_seq_after_the_commit() -> None:
    storage = Gated()
    recorder = Recorder(storage, max_pending_bytes=1_000_000)
    seen: list[tuple[str, int | None]] = []
    async with running(recorder):
        storage.gate.clear()
        recorder.append(entry(b"a"), lambda seq: seen.append(("a", seq)))
        recorder.append(entry(b"b", OTHER), lambda seq: seen.append(("b", seq)))
        recorder.append(entry(b"c"), lambda seq: seen.append(("c", seq)))
        await until(lambda: storage.running == 1)
        assert seen == []
        storage.gate.set()
        await recorder.flush()
    assert seen == [("a", 1), ("b", 1), ("c", 2)]
    assert recorder.pending_bytes == 0


async def test_what_comes_during_a_commit_goes_into_the_next() -> None:
    storage = Gated()
    observed: list[int] = []
    recorder = Recorder(storage, max_pending_bytes=1_000_000, observe=lambda rows, seconds: observed.append(rows))
    async with running(recorder):
        storage.gate.clear()
        recorder.append(entry(b"first"), ignore)
        await until(lambda: storage.running == 1)
        for number in range(50):
            recorder.append(entry(bytes([number]), RoomKey("p", "c", str(number % 7))), ignore)
        storage.gate.set()
        await recorder.flush()
    assert observed == [1, 50]
    assert storage.batches == [[b"first"], [bytes([number]) for number in range(50)]]


async def test_a_commit_whose_answer_was_lost_is_not_made_twice() -> None:
    class Lossy(MemoryStorage):
        lost = 0

        async def commit(
            self, batch: Sequence[Append], facts: Sequence[Fact] = (), *, commit_id: CommitId | None = None
        ) -> Committed:
            committed = await super().commit(batch, facts, commit_id=commit_id)
            self.lost += 1
            if self.lost % 3:
                raise StorageError("the connection was lost")
            return committed

    storage = Lossy()
    recorder = Recorder(storage, max_pending_bytes=1_000_000)
    seqs: list[int | None] = []
    async with running(recorder):
        for number in range(3):
            recorder.append(entry(bytes([number])), seqs.append)
            await recorder.flush()
    assert seqs == [1, 2, 3]
    assert updates(await storage.load(KEY)) == [b"\0", b"\1", b"\2"]


async def test_a_refused_commit_is_tried_again_in_order_and_shows() -> None:
    storage = Gated()
    storage.errors = [StorageError("disk full"), RuntimeError("who knows"), StorageError("disk full")]
    recorder = Recorder(storage, max_pending_bytes=1_000_000)
    seqs: list[int | None] = []
    async with running(recorder):
        for number in range(10):
            recorder.append(entry(bytes([number])), seqs.append)
        await until(lambda: not recorder.healthy)
        assert seqs == []
        assert recorder.pending_bytes > 0
        for number in range(10, 20):
            recorder.append(entry(bytes([number])), seqs.append)
        await recorder.flush()
        assert recorder.healthy
    assert seqs == list(range(1, 21))
    assert updates(await storage.load(KEY)) == [bytes([number]) for number in range(20)]


async def test_a_commit_without_an_answer_shows_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    storage = Gated()
    recorder = Recorder(storage, max_pending_bytes=1_000_000, stall_seconds=0.01)
    async with running(recorder):
        storage.gate.clear()
        recorder.append(entry(b"1"), ignore)
        await until(lambda: not recorder.healthy)
        storage.errors = [StorageError("cut"), StorageError("cut")]
        storage.gate.set()
        await recorder.flush()
        assert recorder.healthy
    assert [record.message for record in caplog.records if "storage" in record.message] == [
        "storage does not answer, 1 updates are pending",
        "storage answers again",
    ]


async def test_a_storage_that_is_away_shows_though_nothing_is_to_be_committed(caplog: pytest.LogCaptureFixture) -> None:
    class Away(MemoryStorage):
        away = False
        asked = 0

        async def span(self, project: str) -> Span:
            self.asked += 1
            if self.away:
                raise StorageError("no route")
            return await super().span(project)

    storage = Away()
    recorder = Recorder(storage, max_pending_bytes=1_000_000, stall_seconds=0.01)
    async with running(recorder):
        storage.away = True
        await until(lambda: not recorder.healthy)
        seen = storage.asked
        await until(lambda: storage.asked > seen + 3)
        storage.away = False
        await until(lambda: recorder.healthy)
    assert [record.message for record in caplog.records if "storage" in record.message] == [
        "storage is away, 0 updates are pending: no route",
        "storage answers again",
    ]


async def test_a_cancelled_recorder_does_not_wait_for_a_storage_that_never_answers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    storage = Gated()
    storage.gate.clear()
    recorder = Recorder(storage, max_pending_bytes=1_000_000, stop_seconds=0.01)
    task = asyncio.create_task(recorder.run())
    recorder.append(entry(b"1"), ignore)
    await until(lambda: storage.running == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert storage.running == 0
    assert "1 updates will not be committed" in caplog.text


async def test_a_stalled_storage_refuses_loudly_and_loses_nothing_that_was_taken() -> None:
    storage = Gated()
    recorder = Recorder(storage, max_pending_bytes=20_000_000)
    storage.gate.clear()
    taken: list[bytes] = []
    seqs: list[int | None] = []
    refused = 0
    async with running(recorder):
        for number in range(70_000):
            update = number.to_bytes(4, "big") * 8
            try:
                recorder.append(entry(update), seqs.append)
            except Unavailable:
                refused += 1
            else:
                assert refused == 0, "room for more only after a commit"
                taken.append(update)
        assert len(taken) > 40_000
        assert refused == 70_000 - len(taken)
        assert refused > 0
        assert recorder.pending_bytes <= 20_000_000 + 1000
        storage.gate.set()
        await recorder.flush()
        recorder.append(entry(b"again"), seqs.append)
        await recorder.flush()
    assert seqs == list(range(1, len(taken) + 2))
    assert updates(await storage.load(KEY)) == [*taken, b"again"]


async def test_flush_waits_for_what_was_appended_before_it_and_not_for_more() -> None:
    storage = Gated()
    recorder = Recorder(storage, max_pending_bytes=1_000_000)
    async with running(recorder):
        await recorder.flush()
        storage.gate.clear()
        recorder.append(entry(b"1"), ignore)
        first = asyncio.create_task(recorder.flush())
        await until(lambda: storage.running == 1)
        recorder.append(entry(b"2"), ignore)
        second = asyncio.create_task(recorder.flush())
        third = asyncio.create_task(recorder.flush())
        await asyncio.sleep(0)
        third.cancel()
        storage.gate.set()
        await first
        await second
    assert storage.batches == [[b"1"], [b"2"]]


async def test_a_cancelled_recorder_commits_what_it_has() -> None:
    storage = Gated()
    recorder = Recorder(storage, max_pending_bytes=1_000_000)
    seqs: list[int | None] = []
    task = asyncio.create_task(recorder.run())
    storage.gate.clear()
    recorder.append(entry(b"1"), seqs.append)
    await until(lambda: storage.running == 1)
    recorder.append(entry(b"2"), seqs.append)
    task.cancel()
    await asyncio.sleep(0)
    recorder.append(entry(b"3"), seqs.append)
    storage.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seqs == [1, 2, 3]


async def test_a_cancelled_recorder_does_not_wait_for_ever_for_a_broken_storage(
    caplog: pytest.LogCaptureFixture,
) -> None:
    storage = Gated()
    storage.errors = [StorageError("gone") for _ in range(1000)]
    recorder = Recorder(storage, max_pending_bytes=1_000_000, stop_seconds=0.0)
    task = asyncio.create_task(recorder.run())
    recorder.append(entry(b"1"), ignore)
    await until(lambda: not recorder.healthy)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "1 updates will not be committed" in caplog.text


async def test_a_failing_callback_harms_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder(MemoryStorage(), max_pending_bytes=1_000_000)
    seqs: list[int | None] = []

    def fail(seq: int | None) -> None:
        raise RuntimeError("a session is gone")

    async with running(recorder):
        recorder.append(entry(b"1"), seqs.append)
        recorder.append(entry(b"2"), fail)
        recorder.append(entry(b"3"), seqs.append)
        await recorder.flush()
    assert seqs == [1, 3]
    assert "a session is gone" in caplog.text


async def test_a_lone_update_does_not_wait_for_company() -> None:
    storage = Gated()
    recorder = Recorder(storage, max_pending_bytes=1_000_000)
    async with running(recorder):
        committed = asyncio.Event()
        recorder.append(entry(b"1"), lambda seq: committed.set())
        await committed.wait()
        await asyncio.sleep(0)
        recorder.append(entry(b"2"), ignore)
        recorder.append(entry(b"3"), ignore)
        await until(lambda: len(storage.batches) == 2)
    assert storage.batches == [[b"1"], [b"2", b"3"]]


async def test_more_rows_than_one_commit_takes_are_committed_in_several() -> None:
    storage = Gated()
    recorder = Recorder(storage, max_pending_bytes=100_000_000)
    seqs: list[int | None] = []
    async with running(recorder):
        for _ in range(5000):
            recorder.append(entry(b"x"), seqs.append)
        recorder.append(entry(bytes(5_000_000)), seqs.append)
        recorder.append(entry(bytes(5_000_000)), seqs.append)
        await until(lambda: len(seqs) == 5002)
    assert seqs == list(range(1, 5003))
    assert max(map(len, storage.batches)) <= 1000


@settings(max_examples=40, deadline=None)  # a refused commit waits before it is tried again
@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["append", "write", "yield", "flush", "fail"])), max_size=40)
)
def test_any_order_of_events_commits_each_update_once_and_in_order(steps: list[tuple[int, str]]) -> None:
    async def scenario() -> None:
        storage = Gated()
        recorder = Recorder(storage, max_pending_bytes=1_000_000)
        keys = [RoomKey("p", "c", str(number)) for number in range(4)]
        appended: dict[RoomKey, list[bytes]] = {key: [] for key in keys}
        seqs: dict[RoomKey, list[int | None]] = {key: [] for key in keys}
        entities = {key: EntityState(key) for key in keys}
        versions: dict[RoomKey, list[int]] = {key: [] for key in keys}
        async with running(recorder):
            for room, step in steps:
                key = keys[room]
                match step:
                    case "append" | "write":
                        update = len(appended[key]).to_bytes(2, "big")
                        ops = []
                        if step == "write":
                            intent = Intent("session", lambda told, key=key: versions[key].append(told.version))  # type: ignore[misc]
                            ops.append(
                                EntityOp("write", entities[key], "ann", 1.0, {"n": len(appended[key])}, intent=intent)
                            )
                        recorder.append(entry(update, key), seqs[key].append, ops)
                        appended[key].append(update)
                    case "yield":
                        await asyncio.sleep(0)
                    case "flush":
                        await recorder.flush()
                    case "fail":
                        storage.errors = storage.errors or [StorageError("once")]
        for key in keys:
            assert updates(await storage.load(key)) == appended[key]
            assert seqs[key] == list(range(1, len(appended[key]) + 1))
            assert versions[key] == sorted(versions[key])
            assert len(versions[key]) == steps.count((keys.index(key), "write"))

    asyncio.run(scenario())


def test_pauses_grow_with_what_a_commit_costs_within_bounds() -> None:
    assert pause_after(0.0) == pause_after(0.0001) == 0.005
    assert pause_after(0.001) == pytest.approx(0.025)
    assert pause_after(3.0) == 0.050
    assert pause_after(0.001, awaited=True) == pytest.approx(0.001)
    assert pause_after(3.0, awaited=True) == 0.050


async def test_an_awaited_write_does_not_wait_for_others_to_gather(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorders, "pause_after", lambda seconds, *, awaited=False: 0.0 if awaited else 3600.0)
    storage = Gated()
    recorder = Recorder(storage, max_pending_bytes=1_000_000)
    answered: list[int] = []
    written = EntityOp(
        "write", EntityState(KEY), "ann", 1.0, {}, intent=Intent("session", lambda told: answered.append(1))
    )
    async with running(recorder):
        recorder.append(entry(b"1"), ignore)
        await until(lambda: len(storage.batches) == 1)
        recorder.append(entry(b"2"), ignore)
        recorder.append(entry(b"3"), ignore, [written])
        await until(lambda: answered == [1])
        assert storage.batches == [[b"1"], [b"2", b"3"]]
        recorder.append(entry(b"4"), ignore)
        storage.gate.clear()
        recorder.append(entry(b"5"), ignore, [written])
        await until(lambda: storage.running == 1)
        recorder.append(entry(b"6"), ignore, [written])  # while a commit is under way
        storage.gate.set()
        await until(lambda: answered == [1, 1, 1])
    assert storage.batches[2:] == [[b"4", b"5"], [b"6"]]


async def test_a_single_writer_does_not_wait_and_two_concurrent_ones_are_gathered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recorders, "pause_after", lambda seconds, *, awaited=False: 3600.0)
    storage = Gated()
    recorder = Recorder(storage, max_pending_bytes=1_000_000)
    answered: list[int] = []
    written = EntityOp(
        "write", EntityState(KEY), "ann", 1.0, {}, intent=Intent("session", lambda told: answered.append(1))
    )
    async with running(recorder):
        for number in (b"1", b"2", b"3"):
            recorder.append(entry(number), ignore, [written])
            await until(lambda number=number: storage.batches[-1:] == [[number]])  # type: ignore[misc]
            await until(lambda: len(answered) == len(storage.batches))
        recorder.append(entry(b"4"), ignore, [written])
        recorder.append(entry(b"5"), ignore, [written])
        await until(lambda: len(answered) == 5)
        recorder.append(entry(b"6"), ignore, [written])
        await asyncio.sleep(0.05)
        assert storage.batches[3:] == [[b"4", b"5"]]
    assert storage.batches[4:] == [[b"6"]]  # at the end, at the latest


async def test_with_sqlite_everything_taken_before_a_cancellation_is_on_the_disk(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path)
    await storage.open()
    recorder = Recorder(storage, max_pending_bytes=100_000_000)
    written = [number.to_bytes(4, "big") for number in range(3000)]
    async with running(recorder):
        for update in written:
            recorder.append(entry(update), ignore)
            if len(update) % 100 == 0:
                await asyncio.sleep(0)
    await storage.close()
    storage = SqliteStorage(tmp_path)
    await storage.open()
    assert updates(await storage.load(KEY)) == written
    await storage.close()


async def test_changes_that_belong_together_are_in_one_commit_however_many_and_large_they_are() -> None:
    storage = Gated()
    recorder = Recorder(storage, max_pending_bytes=8 * 1024 * 1024)
    seqs: list[int | None] = []
    async with running(recorder):
        storage.gate.clear()
        recorder.append(entry(b"first"), seqs.append)
        await asyncio.sleep(0.02)
        recorder.append(entry(b"before"), seqs.append)
        together = [b"%d" % number + b"x" * 1000 for number in range(1500)]
        recorder.append_together([(entry(update), seqs.append, ()) for update in together])
        for number in range(5):
            recorder.append(entry(b"after %d" % number), seqs.append)
        storage.gate.set()
        await recorder.flush()
    assert [update for batch in storage.batches for update in batch][2:1502] == together
    assert any(set(together) <= set(batch) for batch in storage.batches)
    assert len(seqs) == 1507


async def test_changes_that_are_too_large_together_are_refused_together() -> None:
    storage = Gated()
    recorder = Recorder(storage, max_pending_bytes=1000)
    with pytest.raises(Unavailable):
        recorder.append_together([(entry(b"x" * 600), lambda seq: None, ()) for _ in range(2)])
    assert recorder.pending_bytes == 0
    async with running(recorder):
        await recorder.flush()
    assert storage.batches == []


async def test_events_that_contradict_the_record_do_not_hold_up_the_log() -> None:
    storage = MemoryStorage()
    published: list[int] = []
    feed = Feed()
    feed.subscribe(lambda project, event: published.append(event.version))
    recorder = Recorder(storage, max_pending_bytes=1_000_000, feed=feed)
    first, stranger = EntityState(KEY), EntityState(KEY)
    async with running(recorder):
        recorder.append(entry(b"a"), ignore, [EntityOp("write", first, "ann", 1.0, {"n": 1})])
        await recorder.flush()
        recorder.append(entry(b"b"), ignore, [EntityOp("write", stranger, "bob", 2.0, {"n": 2})])
        await recorder.flush()
        recorder.append(entry(b"c"), ignore, [EntityOp("write", first, "ann", 3.0, {"n": 3})])
        await recorder.flush()
    record = await storage.load(KEY)
    assert record is not None
    assert [row.update for row in record.rows] == [b"a", b"b", b"c"]
    assert published == [1, 2]


async def test_events_are_published_before_their_writers_are_notified() -> None:
    order: list[str] = []
    feed = Feed()
    feed.subscribe(lambda project, event: order.append(event.type))
    recorder = Recorder(MemoryStorage(), max_pending_bytes=1_000_000, feed=feed)
    intent = Intent("session", lambda told: order.append(f"told {told.version}"))
    async with running(recorder):
        recorder.append(
            entry(b"a"),
            lambda seq: order.append(f"row {seq}"),
            [EntityOp("write", EntityState(KEY), "ann", 1.0, {}, intent=intent)],
        )
        recorder.append(None, lambda seq: order.append(f"row {seq}"))
        await recorder.flush()
    assert order == ["created", "told 1", "row 1", "row None"]
