from __future__ import annotations

import asyncio
from pathlib import Path
from time import monotonic
from typing import Any

import anyio
import pycrdt
import pytest

from collab.entities.entity import EntityOp
from collab.errors import CollabError, InternalError, InvalidRequest, Quarantined, Restarting, Unavailable
from collab.hooks import Hooks
from collab.names import RoomKey
from collab.rooms.live.quarantine import ENDED_A_WORKER
from collab.rooms.ownership import Alone
from collab.storage.base import Append, Record, SetAside, Snapshot
from collab.storage.sqlite.storage import SqliteStorage
from collab.wire import yjs
from tests.attack.attacks import siblings
from tests.collab.rooms.live.simulation import KEY, Client
from tests.collab.rooms.registry_world import Panicking, opened, text_of


async def test_a_panic_costs_the_sender_its_session_and_the_others_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as (registry, storage):
        room = await registry.open(KEY)
        bad, good = Client(room, "bad"), Client(room, "good")
        bad.sync()
        good.sync()
        good.type("kept", now=monotonic())
        bad.listen()
        room.doc = Panicking(room.doc)  # type: ignore[assignment]
        with pytest.raises(InvalidRequest):
            bad.type("boom", now=monotonic())
        room.leave(bad.session, monotonic())
        good.type(" and said while it was broken", now=monotonic())
        with anyio.fail_after(40):
            while room.successor is None:
                await anyio.sleep(0.01)
        successor = room.successor
        assert good.session in successor.sessions
        assert registry.rooms[KEY] is successor
        good.room = successor
        good.listen()
        assert text_of(successor) == "kept and said while it was broken"
        good.type("!", now=monotonic())
        assert text_of(successor) == str(good)
        kept = await storage.list_set_aside()
        assert [entry.reason.startswith(ENDED_A_WORKER) for entry in kept] == [True]
        again = Client(successor, "bad")
        again.doc = bad.doc
        with pytest.raises(Quarantined):
            again.sync(monotonic())


async def test_e9_an_update_that_crashed_a_worker_is_refused_after_a_restart(tmp_path: Path) -> None:
    author: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
    text = author.get("t", type=pycrdt.Text)
    text += "boom"
    async with opened(tmp_path) as (_, storage):
        await storage.set_aside(SetAside(KEY, None, author.get_update(), f"{ENDED_A_WORKER}: signal 11", 0.0))
    async with opened(tmp_path) as (registry, _):
        client = Client(await registry.open(KEY), "a")
        client.doc.apply_update(author.get_update())
        with pytest.raises(Quarantined):
            client.sync(monotonic())


async def test_a_row_that_does_not_apply_is_set_aside_and_the_room_opens_with_the_rest(tmp_path: Path) -> None:
    async with opened(tmp_path) as (registry, storage):
        room = await registry.open(KEY)
        client = Client(room, "a")
        client.sync()
        for word in ("one ", "two ", "three"):
            client.type(word, now=monotonic())
        await registry._recorder.flush()
        record = await storage.load(KEY)
        assert record is not None
        row = record.rows[1]
        await storage.set_aside(SetAside(KEY, row.seq, row.update, "damaged by hand", 0.0))
    async with opened(tmp_path) as (registry, storage):
        room = await registry.open(KEY)
        assert text_of(room) == "one "
        back = Client(room, "a")
        back.doc = client.doc
        back.sync(monotonic())
        assert text_of(room) == "one two three"
        with anyio.fail_after(40):
            while len(await storage.list_set_aside()) < 2:
                await anyio.sleep(0.01)
    async with opened(tmp_path) as (registry, _):
        assert text_of(await registry.open(KEY)) == "one two three"


async def test_others_are_served_while_a_document_is_loaded(tmp_path: Path) -> None:
    async with opened(tmp_path) as (_, storage):
        for first in range(1, 2_001, 100):
            rows = [Append(KEY, siblings(client, 1), None, 0.0) for client in range(first, first + 100)]
            await storage.commit(rows)
    async with opened(tmp_path) as (registry, _):
        opening = asyncio.create_task(registry.open(KEY))
        while not registry._opening:
            await asyncio.sleep(0)
        turns = 0
        while not opening.done():
            turns += 1
            await asyncio.sleep(0)
        assert turns > 5
        assert len((await opening).gate.state) == 2_000


async def test_a_snapshot_with_an_index_of_another_version_is_read_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as (registry, storage):
        client = Client(await registry.open(KEY), "a")
        client.sync()
        client.type("hello", now=monotonic())
        await registry._recorder.flush()
        await storage.replace_snapshot(KEY, Snapshot(1, client.doc.get_update(), b"of another version"))
    async with opened(tmp_path) as (registry, _):
        room = await registry.open(KEY)
        back = Client(room, "a")
        back.doc, back.text = client.doc, client.text
        back.sync()
        back.type(" again", now=monotonic())
        assert text_of(room) == "hello again"


async def test_an_idle_room_is_evicted_and_loaded_again(tmp_path: Path) -> None:
    async with opened(tmp_path, idle_seconds=0.0) as (registry, _):
        room = await registry.open(KEY)
        client = Client(room, "a")
        client.sync()
        client.type("hello", now=monotonic())
        registry._evict_if_idle(room, float("inf"))
        assert KEY in registry.rooms, "somebody is in it"
        room.leave(client.session, monotonic())
        registry.released(room)
        registry._evict_if_idle(room, float("inf"))
        assert KEY in registry.rooms, "not committed yet"
        await registry._recorder.flush()
        registry._evict_if_idle(room, float("inf"))
        assert KEY not in registry.rooms
        assert text_of(await registry.open(KEY)) == "hello"


async def test_a_room_that_the_supervisor_wants_closed_is_refused_for_now(tmp_path: Path) -> None:
    async with opened(tmp_path, closed=lambda key: key == KEY) as (registry, _):
        with pytest.raises(Unavailable):
            await registry.open(KEY)
        await registry.open(RoomKey("default", "documents", "other"))


async def test_a_seed_that_is_not_an_update_refuses_the_room_and_stores_nothing(tmp_path: Path) -> None:
    class Bad(Hooks):
        async def load(self, key: RoomKey) -> bytes | None:
            return b"nonsense"

    async with opened(tmp_path, Bad()) as (registry, storage):
        with pytest.raises(CollabError):
            await registry.open(KEY)
        assert await storage.load(KEY) is None


async def test_when_the_server_stops_nothing_new_is_opened_and_all_is_committed(tmp_path: Path) -> None:
    async with opened(tmp_path) as (registry, storage):
        client = Client(await registry.open(KEY), "a")
        client.sync()
        client.type("last words", now=monotonic())
        await registry.drain()
        record = await storage.load(KEY)
        assert record is not None
        assert len(record.rows) == 1
        with pytest.raises(Restarting):
            await registry.open(RoomKey("default", "documents", "other"))


async def test_a_log_that_stalls_refuses_loudly_and_loses_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as (registry, storage):
        room = await registry.open(KEY)
        client = Client(room, "a")
        client.sync()
        accepted = 0
        with pytest.raises(Unavailable):
            for _ in range(10_000):
                client.say(yjs.Update(client.type("x" * 200, send=False)), monotonic())
                accepted += 1
        await registry._recorder.flush()
        record = await storage.load(KEY)
        assert record is not None
        assert len(record.rows) == accepted


async def test_above_a_limit_idle_rooms_are_evicted_early(tmp_path: Path) -> None:
    key = RoomKey("default", "tasks", "held")
    async with opened(tmp_path, idle_seconds=3600.0) as (registry, _), registry.hold(key) as held:
        for number in range(1100):
            async with registry.hold(RoomKey("default", "tasks", f"t{number}")):
                pass
        assert len(registry.rooms) <= 1002
        assert registry.rooms[key] is held
        assert RoomKey("default", "tasks", "t1099") in registry.rooms
        assert RoomKey("default", "tasks", "t0") not in registry.rooms


class Unreadable(SqliteStorage):
    """Fails to load a document the first time."""

    failed = False

    async def load(self, key: RoomKey) -> Record | None:
        if not self.failed:
            self.failed = True
            raise RuntimeError("the disk is on fire")
        return await super().load(key)


async def test_a_document_that_could_not_be_loaded_is_loaded_for_the_next_caller(tmp_path: Path) -> None:
    async with opened(tmp_path, kind=Unreadable) as (registry, _):
        with pytest.raises(InternalError, match="could not be loaded"):
            await registry.open(KEY)
        assert text_of(await registry.open(KEY)) == ""


async def test_a_document_at_which_the_library_panics_is_quarantined_row_by_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path) as (registry, _):
        client = Client(await registry.open(KEY), "a")
        client.sync()
        for text in ("kept", "boom", "lost with it"):
            client.type(text, now=monotonic())
            await registry._recorder.flush()
    whole = pycrdt.Doc

    def doc(*args: Any, **options: Any) -> Any:
        return Panicking(whole(*args, **options))

    async with opened(tmp_path) as (registry, storage):
        monkeypatch.setattr("collab.rooms.loading.pycrdt.Doc", doc)
        with pytest.raises(Unavailable, match="retry"):
            await registry.open(KEY)
        with anyio.fail_after(40):
            while not await storage.list_set_aside():
                await anyio.sleep(0.01)
        await registry.open(KEY)
        monkeypatch.undo()
    async with opened(tmp_path) as (registry, storage):
        assert text_of(await registry.open(KEY)) == "kept"
        assert [entry.seq for entry in await storage.list_set_aside()] == [2, 3]


async def test_who_opens_a_document_that_somebody_may_create_waits_for_the_decision(tmp_path: Path) -> None:
    class Seeds(Hooks):
        async def load(self, key: RoomKey) -> bytes | None:
            doc: pycrdt.Doc[Any] = pycrdt.Doc()
            doc["t"] = pycrdt.Text("seeded")
            return doc.get_update()

    async with opened(tmp_path, Seeds()) as (registry, _):
        async with registry.hold(KEY, seeds=False) as room:
            waiting = asyncio.create_task(registry.open(KEY))
            await anyio.wait_all_tasks_blocked()
            assert not waiting.done()
            assert text_of(room) == ""
        assert text_of(await waiting) == "seeded"


async def test_a_writer_whose_callback_fails_costs_others_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        raise RuntimeError("the writer is gone")

    async with opened(tmp_path) as (registry, _):
        room = await registry.open(KEY)
        client = Client(room, "a")
        told = asyncio.Event()
        room.edit(client.type("a", send=False), "ann", monotonic(), fail)
        room.edit(client.type("b", send=False), "ann", monotonic(), told.set)
        await asyncio.wait_for(told.wait(), 60)
        assert room.commits.pending == 0


async def test_changes_of_entities_in_a_broken_or_closed_room_are_refused(tmp_path: Path) -> None:
    async with opened(tmp_path, idle_seconds=0.0) as (registry, _):
        room = await registry.open(KEY)
        op = EntityOp("write", room.bridge.main, "ann", 0.0)
        room.broken = True
        with pytest.raises(Unavailable):
            registry.note(room, op)
        room.broken = False
        registry._evict_if_idle(room, float("inf"))
        with pytest.raises(Unavailable):
            registry.note(room, op)


async def test_a_room_whose_maintenance_fails_does_not_keep_the_others_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path, idle_seconds=0.0) as (registry, _):
        bad = await registry.open(KEY)
        other = RoomKey("default", "documents", "e")
        await registry.open(other)

        def fail(now: float) -> None:
            raise RuntimeError("a fault")

        monkeypatch.setattr(bad, "expire", fail)
        maintaining = asyncio.create_task(registry.maintain())
        with anyio.fail_after(60):
            while other in registry.rooms:
                await anyio.sleep(0.01)
        assert KEY in registry.rooms
        maintaining.cancel()
        await asyncio.gather(maintaining, return_exceptions=True)


async def test_nobody_opens_a_document_between_its_acquisition_and_the_work_that_empties_it(tmp_path: Path) -> None:
    class Slow(Alone):
        """Answers the first question when it is told to, as another node's record does."""

        def __init__(self) -> None:
            self.asked = 0
            self.answer = asyncio.Event()

        async def acquire(self, key: RoomKey) -> None:
            self.asked += 1
            if self.asked == 1:
                await self.answer.wait()

    slow = Slow()
    async with opened(tmp_path, ownership=slow) as (registry, _):
        met: list[bool] = []

        async def work() -> None:
            met.append(KEY in registry.rooms)

        vacating = asyncio.create_task(registry.vacate(KEY, work))
        await asyncio.sleep(0)
        opening = asyncio.create_task(registry.open(KEY))
        await asyncio.sleep(0)
        slow.answer.set()
        await vacating
        assert met == [False]
        assert (await opening).broken


async def test_a_document_is_vacated_after_it_was_opened(tmp_path: Path) -> None:
    async with opened(tmp_path) as (registry, _):
        opening = asyncio.create_task(registry.open(KEY))
        await asyncio.sleep(0)
        held: list[bool] = []

        async def work() -> None:
            held.append(KEY in registry.rooms)

        await registry.vacate(KEY, work)
        assert held == [False]
        assert (await opening).broken
