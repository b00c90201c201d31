"""Erased data is gone from all answers and from the files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from pycrdt import Map, Text

from collab import Access, Collab, Identity, RoomKey, Rule, Settings
from collab.errors import EntityDeleted, InvalidRequest, NotFound, PermissionDenied, Unavailable
from collab.event import EntityEvent
from collab.records.declaration import declaration
from collab.records.erasing import erased_with
from collab.records.reads import Caller
from collab.server.offline import erase_offline
from collab.storage.base import DeadLetter, SetAside
from collab.storage.sqlite.storage import SqliteStorage

SECRET = "the-erased-text-7f3a"
KEPT = "the-kept-text-55c1"
BOARDS = {"cards": declaration({}, mapped={"in": "boards", "root": "cards"})}


def holds(folder: Path, text: str) -> list[str]:
    """The files in which a text stands."""
    return [path.name for path in sorted(folder.iterdir()) if text.encode() in path.read_bytes()]


@pytest.fixture
async def collab(tmp_path: Path) -> AsyncIterator[Collab]:
    made = Collab(Settings(data=str(tmp_path), collections=BOARDS))
    async with made.lifespan():
        yield made


async def write(collab: Collab, key: RoomKey, secret: str) -> None:
    """Every place of the record has something of an entity."""
    tasks = collab.collection(key.collection, user="ann")
    await tasks.create({"title": secret, "note": f"{secret} {'x' * 6000}"}, id=key.id, request=f"make {key.id}")
    for number in range(3):
        async with collab.room(key.name).edit(user="bob") as doc:
            content = doc.get("content", type=Text)
            content += f"{secret} {number} " * 50
        await tasks.update(key.id, {"title": f"{secret} {number}", "note": None})
        await collab._registry.compactor.compact(key)
    storage = collab._storage
    await storage.set_aside(SetAside(key, None, secret.encode(), secret, 1.0))
    (event, *_) = await tasks.history(key.id)
    await storage.save_webhook("w", key.project, 1, [DeadLetter("w", event, key.project, secret, 1.0)])
    await tasks.delete(key.id)


async def test_a_document_of_before_the_mapping_takes_no_card_of_a_board_with_it(tmp_path: Path) -> None:
    key = RoomKey("default", "boards", "b:c")
    before = Collab(Settings(data=str(tmp_path)))
    async with before.lifespan():
        await before.collection("boards").create({"title": SECRET}, id=key.id)
    after = Collab(Settings(data=str(tmp_path), collections=BOARDS))
    async with after.lifespan():
        await after.collection("boards").create({}, id="b")
        await after.collection("cards").create({"title": KEPT}, id="b:c:d")
        assert await erased_with(after._storage, after.schemas, key) == [key]


async def test_a10_a_named_write_is_not_made_again_once_its_entity_is_erased(collab: Collab) -> None:
    tasks = collab.collection("tasks", user="ann")
    await tasks.create({"title": SECRET}, id="t1", request="once")
    await collab.erase(RoomKey("default", "tasks", "t1"))
    with pytest.raises(NotFound, match="erased"):
        await tasks.create({"title": SECRET}, id="t1", request="once")
    assert await tasks.count() == 0
    await tasks.create({"title": KEPT}, id="t1", request="another")  # it may be created again, though
    with pytest.raises(NotFound, match="erased"):
        await tasks.create({"title": SECRET}, id="t1", request="once")


async def test_nothing_of_what_is_erased_is_left_in_the_files(collab: Collab, tmp_path: Path) -> None:
    erased, kept = RoomKey("default", "tasks", "t1"), RoomKey("default", "tasks", "t2")
    await write(collab, erased, SECRET)
    await write(collab, kept, KEPT)
    assert holds(tmp_path, SECRET)
    await collab.erase(erased)
    assert holds(tmp_path, SECRET) == []
    assert holds(tmp_path, KEPT)
    tasks = collab.collection("tasks")
    for attempt in (tasks.find_by_id("t1"), tasks.restore("t1"), tasks.update("t1", {"n": 1}), collab.erase(erased)):
        with pytest.raises(NotFound) as refused:
            await attempt
        assert not isinstance(refused.value, EntityDeleted)
    assert [letter.event.id for letter in await collab._storage.dead_letters("w")] == ["t2"]
    assert (await tasks.restore("t2")).data["title"] == f"{KEPT} 2"


async def test_what_is_there_is_deleted_for_everybody_before_it_is_erased(collab: Collab) -> None:
    events: list[EntityEvent] = []
    collab.feed.subscribe(lambda project, event: events.append(event))
    tasks = collab.collection("tasks")
    await tasks.create({"title": "a"}, id="t1")
    before = await collab._storage.span("default")
    await tasks.erase("t1")
    assert [event.type for event in events] == ["created", "deleted"]
    assert (await tasks.find_many()).rows == []
    # positions go on, and the name is free
    assert (await collab._storage.span("default")).newest == before.newest + 1
    again = await tasks.create({"title": "b"}, id="t1")
    assert (again.version, again.data["title"]) == (1, "b")
    assert events[-1].position == before.newest + 2
    assert events[-1].at > events[-2].at


async def test_a_document_is_erased_with_the_entities_inside_it(collab: Collab, tmp_path: Path) -> None:
    async with collab.room("boards/b1").edit(user="ann") as doc:
        cards = doc.get("cards", type=Map)
        cards["c1"] = Map({"title": SECRET})
    with pytest.raises(InvalidRequest, match="lives inside boards/b1"):
        await collab.erase(RoomKey("default", "cards", "b1:c1"))
    await collab.erase(RoomKey("default", "boards", "b1"))
    assert (await collab.collection("cards").find_many()).rows == []
    assert holds(tmp_path, SECRET) == []


async def test_whoever_has_it_open_is_sent_away_and_finds_it_empty(collab: Collab) -> None:
    async with collab.room("tasks/t1").edit(user="ann") as doc:
        doc["content"] = Text(SECRET)
    reading = asyncio.gather(*(collab.room("tasks/t1").text("content") for _ in range(5)), return_exceptions=True)
    await collab.erase(RoomKey("default", "tasks", "t1"))
    await reading
    assert await collab.room("tasks/t1").json() == {}


async def test_erasing_takes_a_right_of_its_own(collab: Collab) -> None:
    await collab.collection("tasks").create({}, id="t1")

    def caller(*patterns: str) -> Caller:
        return Caller(Identity("default", "ann", rules=tuple(Rule(one, Access.WRITE) for one in patterns)), "s")

    for rules in (("tasks/*",), ("system/erase",)):
        with pytest.raises(PermissionDenied):
            await collab.hub.records.erase(caller(*rules), "tasks", "t1")
    await collab.hub.records.erase(caller("tasks/*", "system/erase"), "tasks", "t1")


async def test_what_was_deleted_longer_ago_than_history_is_kept_is_erased(tmp_path: Path) -> None:
    collab = Collab(Settings(data=str(tmp_path), history_days=1, collections=BOARDS))
    async with collab.lifespan():
        tasks = collab.collection("tasks")
        await write(collab, RoomKey("default", "tasks", "t1"), SECRET)
        await tasks.create({"title": KEPT}, id="t2")
        (deleted, *_) = await tasks.history("t1", limit=1)
        assert deleted.type == "deleted"
        at = await collab._storage.newest_at()
        await collab.hub._erasing.expire(at - 86_400.0)
        assert holds(tmp_path, SECRET)
        await collab.hub._erasing.expire(at + 1.0)
        assert holds(tmp_path, SECRET) == []
        assert (await tasks.find_by_id("t2")).data["title"] == KEPT


async def test_a_database_that_no_server_uses_is_erased_from_and_written_anew(tmp_path: Path) -> None:
    settings = Settings(data=str(tmp_path))
    key = RoomKey("default", "tasks", "t1")
    collab = Collab(settings)
    async with collab.lifespan():
        await write(collab, key, SECRET)
    assert await erase_offline(settings, key) == 1
    assert holds(tmp_path, SECRET) == []
    with pytest.raises(NotFound):
        await erase_offline(settings, key)
    storage = SqliteStorage(tmp_path)
    await storage.open()
    assert await storage.entity(key) is None
    await storage.close()


async def test_what_cannot_be_erased_yet_does_not_keep_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A deleted entity inside a living document stays with it; a failure is logged."""
    collab = Collab(Settings(data=str(tmp_path), history_days=1, collections=BOARDS))
    async with collab.lifespan():
        await collab.collection("boards").create({}, id="b")
        cards, tasks = collab.collection("cards"), collab.collection("tasks")
        await cards.create({"n": 1}, id="b:c1")
        await cards.delete("b:c1")
        for name in ("t1", "t2"):
            await tasks.create({"n": 1}, id=name)
            await tasks.delete(name)
        erase = collab._storage.erase

        async def refuse(keys: Sequence[RoomKey]) -> None:
            if any(key.id == "t1" for key in keys):
                raise Unavailable("not now")
            await erase(keys)

        monkeypatch.setattr(collab._storage, "erase", refuse)
        await collab.hub._erasing.expire(await collab._storage.newest_at() + 1.0)
        assert "t1 could not be erased: not now" in caplog.text
        assert await collab._storage.entity(RoomKey("default", "tasks", "t1")) is not None
        assert await collab._storage.entity(RoomKey("default", "tasks", "t2")) is None
        assert (await cards.restore("b:c1")).data["n"] == 1
