"""The law of included rows: however writes, reads and events interleave, at quiet they are those of a fresh query."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from collab import Collab, RoomKey, Settings, declaration
from collab.access.identity import Identity
from collab.access.rules import parse_rules
from collab.errors import CollabError
from collab.query.match import conjoin
from collab.query.parse_include import parse_including
from collab.records.reads import Caller
from collab.storage.base import FoundEach, Storage
from collab.storage.memory import MemoryStorage
from collab.storage.sqlite.storage import SqliteStorage
from collab.wire.realtime.messages import FindMany
from tests.collab.realtime.matching.include_screen import IncludeScreen, fresh

DECLARED = {
    "tasks": declaration(
        relations={
            "owner": {"one": "users", "by": "ownerId"},
            "parent": {"one": "tasks", "by": "parentId"},
            "comments": {"many": "comments", "by": "taskId"},
            "parts": {"many": "tasks", "by": "parentId"},
        }
    )
}
RULES = {"tasks/*": "read", "users/*": {"access": "read", "where": {"open": True}}, "comments/*": "read"}
QUERIES: list[dict[str, Any]] = [
    {"include": {"owner": True, "comments": True}},
    {
        "where": {"n": {"lt": 3}},
        "orderBy": {"n": "asc"},
        "limit": 3,
        "include": {
            "owner": {"where": {"n": {"gt": 0}}},
            "comments": {"orderBy": {"n": "desc"}, "limit": 2, "where": {"n": {"not": 1}}},
            "parent": True,
            "parts": {"orderBy": {"n": "asc"}, "limit": 1},
        },
    },
    {"orderBy": {"n": "desc"}, "offset": 1, "limit": 2, "include": {"parts": {"limit": 2}, "parent": True}},
]


class Slow:
    """A storage whose answers for several keys come late, or even later."""

    def __init__(self, storage: Storage, random: Random) -> None:
        self._storage, self._random = storage, random

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    async def find_each(self, *args: Any) -> FoundEach:
        for _ in range(self._random.randrange(6)):
            await asyncio.sleep(0)
        found = await self._storage.find_each(*args)
        for _ in range(self._random.randrange(6)):
            await asyncio.sleep(0)
        return found


@asynccontextmanager
async def running(storage: Any) -> AsyncIterator[Collab]:
    collab = Collab(Settings(collections=DECLARED), storage=storage)
    async with collab.lifespan():
        yield collab


async def watch(collab: Collab, caller: Caller, raw: dict[str, Any], screen: IncludeScreen) -> Callable[[], None]:

    records = collab.hub.records
    query, includes = parse_including(raw)
    visible = partial(records.visible, caller)
    relations = await records.relations("tasks", includes, visible)
    query = replace(query, where=conjoin(query.where, await visible("tasks")))
    return await collab.hub.live_includes.open("default", "tasks", query, relations, screen, caller.owner)


async def write(collab: Collab, random: Random) -> None:
    ids = {"tasks": 6, "users": 4, "comments": 14}
    collection = random.choice(list(ids))
    name = f"{collection[0]}{random.randrange(ids[collection])}"
    fields = {
        "n": random.randrange(5),
        "open": random.random() < 0.7,
        "ownerId": random.choice(["u0", "u1", "u2", "u3", None, 7, "no id"]),
        "parentId": f"t{random.randrange(6)}",
        "taskId": f"t{random.randrange(6)}",
    }
    chosen = {field: value for field, value in fields.items() if random.random() < 0.5}
    at = collab.collection(collection)
    try:
        match random.randrange(6):
            case 0:
                await at.delete(name)
            case 1:
                await at.restore(name)
            case _ if await collab.hub.records._storage.entity(RoomKey("default", collection, name)) is None:
                await at.create(fields, id=name)
            case _:
                await at.update(name, chosen)
    except CollabError:
        pass


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_i7_at_quiet_rows_and_what_they_include_are_those_of_a_fresh_query(
    tmp_path: Path, kind: str, seed: int
) -> None:
    random = Random(seed)
    storage: Storage = MemoryStorage() if kind == "memory" else SqliteStorage(tmp_path / "record.db")
    callers = [
        Caller(Identity("default", "ann", rules=parse_rules({"*/*": "read"})), "a"),
        Caller(Identity("default", "bob", rules=parse_rules(RULES)), "b"),
    ]
    async with running(Slow(storage, random)) as collab:
        for _ in range(30):
            await write(collab, random)
        watching = []
        for _ in range(6):
            query, caller, screen = random.choice(QUERIES), random.choice(callers), IncludeScreen()
            watching.append((query, caller, screen, await watch(collab, caller, query, screen)))
            await asyncio.gather(*(write(collab, random) for _ in range(15)))
        for _ in range(8):
            await asyncio.gather(*(write(collab, random) for _ in range(15)))
            await quiet(collab)
            for query, caller, screen, _ in watching:
                assert screen.error is None
                found = await collab.hub.records.find_many(caller, FindMany(id=0, collection="tasks", query=query))
                assert screen.shown() == fresh(found)
        for *_, close in watching:
            close()
        await quiet(collab)
        assert len(collab.hub.live_includes) == 0
        assert collab.hub.live_queries.entries == 0


async def quiet(collab: Collab) -> None:
    """Until nothing is read any more."""
    for _ in range(2):
        while len(collab.hub.live_queries._tasks) or len(collab.hub.live_includes._tasks):
            await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
