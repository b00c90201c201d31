from __future__ import annotations

import asyncio
from pathlib import Path
from time import monotonic

import anyio
import pycrdt
import pytest

from collab.errors import Unavailable
from collab.names import RoomKey
from collab.rooms.registry import Registry
from collab.storage.base import Append, Snapshot
from collab.storage.sqlite.storage import SqliteStorage
from collab.wire import yjs
from tests.attack.attacks import siblings
from tests.collab.rooms.live.simulation import KEY, Client
from tests.collab.rooms.registry_world import opened, text_of


async def test_a_long_log_is_replaced_by_a_snapshot_with_the_same_content(tmp_path: Path) -> None:
    async with opened(tmp_path) as (registry, storage):
        room = await registry.open(KEY)
        client = Client(room, "a")
        client.sync()
        for n in range(200):
            client.type(f"{n} ", now=monotonic())
        await registry._recorder.flush()
        await registry.compactor.compact(KEY)
        record = await storage.load(KEY)
        assert record is not None
        assert record.snapshot is not None
        assert len(record.rows) == 0
        assert room.log.rows == 0
        client.type("after", now=monotonic())
    async with opened(tmp_path) as (registry, _):
        room = await registry.open(KEY)
        assert text_of(room) == str(client)
        more = Client(room, "b")
        more.sync()
        more.type(" and more", now=monotonic())
        assert text_of(room).endswith("after and more")


async def test_a_small_log_that_loads_slowly_is_compacted(tmp_path: Path) -> None:
    async with opened(tmp_path) as (registry, storage):
        room = await registry.open(KEY)
        writer = Client(room, "a")
        writer.sync()
        clients = 0
        while room.log.seconds < 0.5:  # each sees none of the others, and what it says comes behind theirs
            clients += 1
            writer.say(yjs.Update(siblings(clients, 1)), monotonic())
            if clients % 500 == 0:
                await registry._recorder.flush()
        await registry._recorder.flush()
        with anyio.fail_after(120):
            while room.log.seconds >= 0.5 or not room.log.snapshot_bytes:
                await anyio.sleep(0.05)
        record = await storage.load(KEY)
        assert record is not None
        assert record.snapshot is not None
        assert clients < 15_000
        assert len(record.rows) < clients
        assert room.doc.get("m", type=pycrdt.Map).to_py() == {"k": None}


@pytest.mark.slow
async def test_an_old_log_that_loads_slowly_is_compacted_when_it_is_loaded(tmp_path: Path) -> None:
    async with opened(tmp_path) as (_, storage):
        for first in range(1, 8_001, 10):
            rows = [Append(KEY, siblings(client, 1), None, 0.0) for client in range(first, first + 10)]
            await storage.commit(rows)
    async with opened(tmp_path) as (registry, _):
        room = await registry.open(KEY)
        assert room.log.seconds > 10 * room.log.snapshot_seconds
        with anyio.fail_after(120):
            while not room.log.snapshot_bytes:
                await anyio.sleep(0.05)
        assert room.log.rows == 0
        assert room.log.excess < 2


class Stubborn(SqliteStorage):
    """Takes no snapshots: refuses them, or lets them wait."""

    refuses = True

    async def replace_snapshot(self, key: RoomKey, snapshot: Snapshot) -> None:
        if self.refuses:
            raise Unavailable("no room for a snapshot")
        await asyncio.Event().wait()


async def typed(registry: Registry, text: str) -> None:
    client = Client(await registry.open(KEY), "a")
    client.sync()
    client.type(text, now=monotonic())
    await registry._recorder.flush()


async def test_a_compaction_that_fails_leaves_the_log_and_is_not_retried_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(tmp_path, kind=Stubborn) as (registry, storage):
        await typed(registry, "kept")
        for _ in range(2):
            await registry.compactor.compact(KEY)
        assert caplog.text.count("could not compact") == 1
        record = await storage.load(KEY)
        assert record is not None
        assert record.snapshot is None
        assert record.rows
    async with opened(tmp_path) as (registry, _):
        assert text_of(await registry.open(KEY)) == "kept"


async def test_a_compaction_that_is_cancelled_may_begin_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Stubborn, "refuses", False)
    async with opened(tmp_path, kind=Stubborn) as (registry, _):
        await typed(registry, "a")
        compacting = asyncio.create_task(registry.compactor.compact(KEY))
        await asyncio.sleep(0)
        compacting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await compacting
        monkeypatch.setattr(Stubborn, "refuses", True)
        await registry.compactor.compact(KEY)
        assert "could not compact" in caplog.text


async def test_a_document_that_nobody_has_open_is_compacted(tmp_path: Path) -> None:
    async with opened(tmp_path) as (registry, _):
        await typed(registry, "hello")
    async with opened(tmp_path) as (registry, storage):
        for _ in range(2):  # the second time there is nothing to do
            await registry.compactor.compact(KEY)
            record = await storage.load(KEY)
            assert record is not None
            assert record.snapshot is not None
            assert not record.rows
        await registry.compactor.compact(RoomKey("default", "documents", "unknown"))
        assert text_of(await registry.open(KEY)) == "hello"


@pytest.mark.parametrize("state", ["open", "closed", "noted"])
async def test_rows_whose_content_has_not_become_events_yet_stay_in_the_log(tmp_path: Path, state: str) -> None:
    """Neither an event that is noted and not committed yet counts, nor that the document was closed."""
    async with opened(tmp_path, cuts_covered=True) as (registry, storage):
        await typed(registry, "hello")
        if state == "closed":
            del registry.rooms[KEY]
        elif state == "noted":
            registry.rooms[KEY].bridge.cover(1)
        await registry.compactor.compact(KEY)
        record = await storage.load(KEY)
        assert record is not None
        assert record.snapshot is None
        assert len(record.rows) == 1
