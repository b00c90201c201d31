"""Entities that come into being without their rooms, next to everybody who needs such a room."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import anyio
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collab.entities.entity import Intent, WriteOutcome
from collab.errors import Elsewhere, TooLarge, Unavailable
from collab.gate.edit import encode_fields
from collab.hooks import Changed, Hooks
from collab.names import RoomKey
from collab.rooms import commitment
from collab.rooms.live.ring import RoomOptions
from collab.rooms.ownership import Alone
from collab.rooms.registry import Registry
from collab.storage.base import Committed, EntityRow, Record
from collab.storage.sqlite.storage import SqliteStorage
from tests.collab.rooms.registry_world import opened

KEY = RoomKey("default", "tasks", "t1")
FIELDS = {"title": "a", "tags": ["x", {"y": None}]}

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
fields = st.dictionaries(st.text(min_size=1, max_size=5), values, max_size=5)


class Held(SqliteStorage):
    """Commits nothing before ``goes_on`` is set."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.goes_on = asyncio.Event()

    async def commit(self, *arguments: Any, **options: Any) -> Committed:
        await self.goes_on.wait()
        return await super().commit(*arguments, **options)


def asked() -> tuple[asyncio.Future[WriteOutcome], Intent]:
    told: asyncio.Future[WriteOutcome] = asyncio.get_running_loop().create_future()
    return told, Intent("a session", told.set_result)


async def created(registry: Registry, key: RoomKey = KEY, what: dict[str, Any] = FIELDS) -> WriteOutcome:
    told, intent = asked()
    assert await registry.create(key, what, "ann", intent)
    return await told


async def refused(registry: Registry, key: RoomKey = KEY) -> bool:
    return not await registry.create(key, FIELDS, "ann", asked()[1])


async def row_of(storage: SqliteStorage, key: RoomKey = KEY) -> EntityRow:
    row = await storage.entity(key)
    assert row is not None
    return row


def without_times(row: EntityRow) -> tuple[Any, ...]:
    data = {name: value for name, value in row.data.items() if name not in ("id", "createdAt", "updatedAt")}
    heads = msgspec.msgpack.decode(row.heads)
    return row.version, row.deleted, data, {name: [head[0], head[1], head[3]] for name, head in heads.items()}


async def test_what_is_created_opens_no_room_and_is_in_its_document_later(tmp_path: Path) -> None:
    async with opened(tmp_path) as (registry, storage):
        outcome = await created(registry)
        assert outcome.version == 1
        assert outcome.data == (await row_of(storage)).data
        assert {name: outcome.data[name] for name in FIELDS} == FIELDS
        assert not registry.rooms
        room = await registry.open(KEY)
        assert room.read_field("fields", None, "tags") == FIELDS["tags"]
        assert room.bridge.main.data == outcome.data
        assert room.bridge.covered == room.bridge.seq == 1, "it has no content of which events are still to come"


async def test_an_entity_without_fields_is_created_without_a_log(tmp_path: Path) -> None:
    async with opened(tmp_path) as (registry, storage):
        assert (await created(registry, what={})).version == 1
        record = await storage.load(KEY)
        assert record is not None
        assert record.lineage is None
        assert await refused(registry), "it exists"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(fields, min_size=1, max_size=3))
async def test_the_record_is_the_same_as_that_of_a_write_in_a_room(
    tmp_path_factory: pytest.TempPathFactory, many: Sequence[dict[str, Any]]
) -> None:
    async with opened(tmp_path_factory.mktemp("data")) as (registry, storage):
        for number, what in enumerate(many):
            alone, inside = (RoomKey("default", "tasks", f"{name}{number}") for name in ("alone", "inside"))
            await created(registry, alone, what)
            if not what:
                continue
            async with registry.hold(inside) as room:
                told, intent = asked()
                update = encode_fields(room.server_client_id, 0, "fields", what, (), {})
                room.edit(update, "ann", monotonic(), lambda: None, intent)
                await told
            assert without_times(await row_of(storage, alone)) == without_times(await row_of(storage, inside))
            async with registry.hold(alone) as room:
                assert room.gate.roots == {"fields": "map"}
                assert not room.content_roots()
                for name in what:
                    assert room.read_field("fields", None, name) == (await row_of(storage, inside)).data.get(name)


async def test_who_opens_the_room_meanwhile_waits_for_the_commit(tmp_path: Path) -> None:
    held = Held(tmp_path)
    async with opened(tmp_path, kind=lambda folder: held) as (registry, _):
        told, intent = asked()
        assert await registry.create(KEY, FIELDS, "ann", intent)
        assert await refused(registry), "it is being created"
        opening = asyncio.create_task(registry.open(KEY))
        other = await registry.open(RoomKey("default", "tasks", "other"))
        assert other.key in registry.rooms
        assert not opening.done()
        held.goes_on.set()
        room = await opening
        assert told.done()
        assert room.read_field("fields", None, "title") == "a"


async def test_who_waits_for_a_storage_that_commits_nothing_is_sent_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commitment, "_PATIENCE", 0.01)
    held = Held(tmp_path)
    async with opened(tmp_path, kind=lambda folder: held) as (registry, _):
        _, intent = asked()
        assert await registry.create(KEY, FIELDS, "ann", intent)
        with pytest.raises(Unavailable):
            await registry.open(KEY)
        held.goes_on.set()
        with anyio.fail_after(40):
            while True:
                try:
                    room = await registry.open(KEY)
                    break
                except Unavailable:
                    await anyio.sleep(0.01)
        assert room.read_field("fields", None, "title") == "a"


class Gradual(SqliteStorage):
    """Says what it has loaded once it is told to."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.asked, self.answer = asyncio.Event(), asyncio.Event()

    async def load(self, key: RoomKey) -> Record | None:
        record = await super().load(key)
        self.asked.set()
        await self.answer.wait()
        return record


async def test_of_two_who_create_one_entity_one_does_and_the_other_finds_its_room(tmp_path: Path) -> None:
    gradual = Gradual(tmp_path)
    async with opened(tmp_path, kind=lambda folder: gradual) as (registry, _):
        first = asyncio.create_task(created(registry))
        await gradual.asked.wait()
        assert await refused(registry)
        gradual.answer.set()
        assert (await first).version == 1
        assert (await registry.open(KEY)).bridge.exists


async def test_who_opens_the_room_before_the_creation_is_recorded_has_it_written_there(tmp_path: Path) -> None:
    gradual = Gradual(tmp_path)
    async with opened(tmp_path, kind=lambda folder: gradual) as (registry, _):
        creating = asyncio.create_task(refused(registry))
        await gradual.asked.wait()
        opening = asyncio.create_task(registry.open(KEY))
        await asyncio.sleep(0)
        gradual.answer.set()
        assert await creating
        assert not (await opening).bridge.exists


class Shared(Alone):
    """The ownership of one of several nodes."""

    def __init__(self) -> None:
        self.elsewhere = False
        self.given_back: list[RoomKey] = []

    async def acquire(self, key: RoomKey) -> None:
        if self.elsewhere:
            raise Elsewhere(nid=2)

    async def give_back(self, keys: Sequence[RoomKey]) -> None:
        self.given_back += keys


async def test_a_node_keeps_a_room_until_the_commit_and_then_lets_others_have_it(tmp_path: Path) -> None:
    held, shared = Held(tmp_path), Shared()
    async with opened(tmp_path, kind=lambda folder: held, ownership=shared) as (registry, _):
        told, intent = asked()
        assert await registry.create(KEY, FIELDS, "ann", intent)
        assert await registry.give_up([KEY]) == [KEY]
        assert not shared.given_back
        held.goes_on.set()
        await told
        with anyio.fail_after(40):
            while await registry.give_up([KEY]):
                await anyio.sleep(0.01)
        assert shared.given_back == [KEY]


async def test_a_room_of_another_node_is_left_to_it(tmp_path: Path) -> None:
    shared = Shared()
    shared.elsewhere = True
    async with opened(tmp_path, ownership=shared) as (registry, storage):
        with pytest.raises(Elsewhere):
            await refused(registry)
        assert await storage.load(KEY) is None
        shared.elsewhere = False
        assert (await created(registry)).version == 1


async def test_what_is_too_large_for_a_document_is_refused_and_can_be_made_smaller(tmp_path: Path) -> None:
    async with opened(tmp_path, options=RoomOptions(document_bytes=1000)) as (registry, storage):
        with pytest.raises(TooLarge):
            await registry.create(KEY, {"text": "a" * 1000}, "ann", asked()[1])
        assert await storage.load(KEY) is None
        assert (await created(registry)).version == 1


async def test_the_application_hears_of_the_document(tmp_path: Path) -> None:
    class Hears(Hooks):
        def __init__(self) -> None:
            self.heard: list[Changed] = []

        async def changed(self, change: Changed) -> None:
            self.heard.append(change)

    hooks = Hears()
    async with opened(tmp_path, hooks) as (registry, _):
        await created(registry)
        with anyio.fail_after(40):
            while not hooks.heard:
                await anyio.sleep(0.01)
    assert hooks.heard == [Changed(KEY, 1, frozenset({"ann"}))]


async def test_a_document_that_is_being_emptied_is_not_created_meanwhile(tmp_path: Path) -> None:
    async with opened(tmp_path) as (registry, _):
        begun, end = asyncio.Event(), asyncio.Event()

        async def work() -> None:
            begun.set()
            await end.wait()

        vacating = asyncio.create_task(registry.vacate(KEY, work))
        await begun.wait()
        assert await refused(registry)
        end.set()
        await vacating
        assert (await created(registry)).version == 1
