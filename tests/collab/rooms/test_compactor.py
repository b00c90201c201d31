from __future__ import annotations

from pathlib import Path
from time import monotonic

import anyio
import pycrdt
import pytest

from collab.storage.base import Append
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
        for first in range(1, 4_001, 10):
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
