"""A record that was moved serves on: clients, webhooks and named writes go on where they were."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from collab.client import Event
from collab.errors import InvalidRequest
from collab.server.config.settings import Settings
from collab.server.offline import copy_offline, migrate_offline
from collab.storage.base import StorageCorrupt, StorageError
from collab.storage.location import storage_at
from tests.collab.client.world import behind, cable, client, until
from tests.collab.storage.database import VERSION_1, raw
from tests.postgres import PostgresServer


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    with postgres.records() as lend:
        yield lend()


async def move(source: str, target: str) -> None:
    await copy_offline(source, target, moved=lambda _: None, damaged=print)


@pytest.mark.parametrize("back", [False, True])
async def test_a_client_resumes_where_it_was_after_the_record_moved(tmp_path: Path, url: str, back: bool) -> None:
    told: list[str] = []
    resyncs: list[None] = []

    def tell(event: Event) -> None:
        told.append(f"{event.type} {event.id} {event.version}")

    async with cable() as wire:
        async with behind(wire, tmp_path / "one") as first:
            live = client(wire.address)
            await live.connect()
            events = live.tasks.subscribe("*", tell, on_resync=lambda: resyncs.append(None))
            await events.ready()
            await live.tasks.create({"id": "t1", "name": "a"})
            await until(lambda: told == ["created t1 1"])
            wire.target = None
            wire.cut()
            await until(lambda: not live.is_connected())
            tasks = first.collection("tasks", "default", user="bob")
            await tasks.update("t1", {"name": "b"})
            await tasks.create({"id": "t2"})
        waiting = live.tasks.create({"id": "t3"})
        await move(str(tmp_path / "one"), url)
        settings = {"database": url}
        folder = tmp_path / "none"
        if back:
            folder, settings = tmp_path / "two", {}
            await move(url, str(folder))
        async with behind(wire, folder, **settings):
            await waiting
            await until(lambda: len(told) == 4)
            assert told == ["created t1 1", "updated t1 2", "created t2 1", "created t3 1"]
            assert events.recovered
            assert not resyncs
            assert (await live.tasks.update("t1", {"name": "c"})).version == 3
            await live.disconnect()


async def test_a_record_is_not_copied_to_where_it_is(tmp_path: Path) -> None:
    storage = storage_at(str(tmp_path))
    await storage.open()
    await storage.close()
    for target in (str(tmp_path), f"{tmp_path}/../{tmp_path.name}"):
        with pytest.raises(InvalidRequest, match="where it is"):
            await move(str(tmp_path), target)


async def test_migrating_brings_an_old_database_to_the_newest_version(tmp_path: Path) -> None:
    with raw(tmp_path) as database:
        database.executescript(VERSION_1)
    version, newest = await migrate_offline(Settings(data=str(tmp_path)))
    assert version == 1
    assert newest > 1
    with raw(tmp_path) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (newest,)
    assert await migrate_offline(Settings(data=str(tmp_path))) == (newest, newest)


async def test_migrating_leaves_alone_what_a_server_uses(tmp_path: Path, url: str) -> None:
    for settings in (Settings(data=str(tmp_path)), Settings(database=url)):
        server = storage_at(settings.location)
        await server.open()
        version, newest = await migrate_offline(settings)  # there is nothing to do
        assert version == newest
        await server.save_schema("acme", "tasks", 1, b"{}")  # it still may
        if settings.database is None:
            with raw(tmp_path) as database:
                database.execute(f"PRAGMA user_version = {newest - 1}")
            with pytest.raises(StorageError, match="another process is using"):
                await migrate_offline(settings)
            with raw(tmp_path) as database:
                assert database.execute("PRAGMA user_version").fetchone() == (newest - 1,)
        await server.close()


async def test_migrating_makes_no_database_and_touches_none_of_others(tmp_path: Path, postgres: PostgresServer) -> None:
    with pytest.raises(StorageError, match="there is no"):
        await migrate_offline(Settings(data=str(tmp_path / "none")))
    assert not (tmp_path / "none").exists()
    nothing = postgres.database()
    with pytest.raises(StorageError, match="holds no record"):
        await migrate_offline(Settings(database=nothing))
    with raw(tmp_path) as database:
        database.execute("CREATE TABLE things (a)")
    with pytest.raises(StorageCorrupt, match="another application"):
        await migrate_offline(Settings(data=str(tmp_path)))


async def test_migrating_refuses_a_newer_version(tmp_path: Path) -> None:
    storage = storage_at(str(tmp_path))
    await storage.open()
    await storage.close()
    with raw(tmp_path) as database:
        database.execute("PRAGMA user_version = 999")
    with pytest.raises(StorageCorrupt, match="a newer version wrote it"):
        await migrate_offline(Settings(data=str(tmp_path)))
