"""Live queries with related rows: what comes together, what an event costs, what ends them."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from collab import Collab, Settings
from collab.access.identity import Identity
from collab.access.rules import parse_rules
from collab.errors import CollabError, SubscriptionFailed
from collab.query.include import RelationQuery
from collab.query.query import Query
from collab.realtime.matching.live_includes import LiveIncludes
from collab.records.reads import Caller
from collab.storage.base import StorageError
from collab.storage.memory import MemoryStorage
from collab.turns import TurnOwner
from tests.collab.realtime.matching.include_screen import IncludeScreen
from tests.collab.realtime.matching.test_include_law import DECLARED, quiet, running, watch

ANN = Caller(Identity("default", "ann", rules=parse_rules({"*/*": "read"})), "a")


async def opened(collab: Collab, query: dict[str, Any]) -> IncludeScreen:
    screen = IncludeScreen()
    await watch(collab, ANN, query, screen)
    return screen


async def test_i6_i7_a_row_comes_with_what_is_related_to_it_in_one_message() -> None:
    async with running(MemoryStorage()) as collab:
        await collab.collection("users").create({"name": "Ada"}, id="u1")
        screen = await opened(collab, {"include": {"owner": True}})
        await collab.collection("tasks").create({"ownerId": "u1"}, id="t1")
        await quiet(collab)
        (told,) = screen.told
        assert [step.op for step in told.steps] == ["enter"]
        ((relation, key, fresh, names),) = [
            (one.relation, one.key, one.fresh, [step.id for step in one.steps]) for one in told.included
        ]
        assert (relation, key, fresh, names) == ("owner", "u1", True, ["u1"])


async def test_i9_an_event_of_a_related_row_is_one_step_whatever_the_number_of_rows_and_reads_nothing() -> None:
    async with running(MemoryStorage()) as collab:
        await collab.collection("users").create({"name": "Ada"}, id="u1")
        for number in range(20):
            await collab.collection("tasks").create({"ownerId": "u1"}, id=f"t{number}")
        screens = [await opened(collab, {"include": {"owner": True, "comments": True}}) for _ in range(3)]
        assert len(collab.hub.live_includes) == 1
        assert len(collab.hub.live_queries) == 1 + 1 + 20
        reads = sum(cost.reads for cost in collab.hub.live_queries.listed(100))
        await collab.collection("users").update("u1", {"name": "Eve"})
        await collab.collection("users").create({"name": "Bob"}, id="u2")
        await quiet(collab)
        assert sum(cost.reads for cost in collab.hub.live_queries.listed(100)) == reads
        for screen in screens:
            (told,) = screen.told
            assert (told.steps, [len(one.steps) for one in told.included]) == ((), [1])
            assert told is screens[0].told[0]


async def test_i9_what_is_related_to_many_new_rows_is_read_at_once() -> None:
    asked: list[int] = []

    class Counting(MemoryStorage):
        async def find_each(self, *args: Any) -> Any:
            asked.append(len(args[2].keys))
            return await super().find_each(*args)

    async with running(Counting()) as collab:
        for number in range(20):
            await collab.collection("tasks").create({"ownerId": f"u{number}"}, id=f"t{number}")
        await opened(collab, {"include": {"owner": True, "comments": True}})
        assert asked == [20, 20]


async def test_i8_too_many_rows_are_refused_and_a_query_that_gets_too_many_ends() -> None:
    async with running(MemoryStorage()) as collab:
        for number in range(4):
            await collab.collection("tasks").create({"parentId": "t0"}, id=f"t{number}")
        parts = RelationQuery("parts", "tasks", "id", "parentId", False, Query(limit=100))
        owner = TurnOwner("default")
        for rows, total, fits in ((3, 100, False), (4, 7, False), (4, 8, True)):
            live, screen = LiveIncludes(collab.hub.live_queries, max_rows=rows, max_total=total), IncludeScreen()
            opening = live.open("default", "tasks", Query(), [parts], screen, owner)
            if not fits:
                with pytest.raises(SubscriptionFailed):
                    await opening
                assert len(live) == 0
        await opening
        for number in range(30):  # which list hears first of a row that goes from one to another is chance
            await collab.collection("tasks").update("t3", {"parentId": ("t1", "t2", "t0")[number % 3]})
            await quiet(collab)
            assert screen.error is None
        await collab.collection("tasks").create({"parentId": "t1"}, id="t4")
        await quiet(collab)
        assert isinstance(screen.error, SubscriptionFailed)
        assert len(live) == 0
        assert collab.hub.live_queries.entries == 0


async def test_a_read_of_related_rows_that_fails_ends_the_query() -> None:
    class Failing(MemoryStorage):
        fails = False

        async def find_each(self, *args: Any) -> Any:
            if self.fails:
                raise StorageError("no disk")
            return await super().find_each(*args)

    storage = Failing()
    async with running(storage) as collab:
        await collab.collection("tasks").create({}, id="t0")
        screen = await opened(collab, {"include": {"owner": True}})
        storage.fails = True
        await collab.collection("tasks").create({"ownerId": "u1"}, id="t1")
        await quiet(collab)
        assert isinstance(screen.error, StorageError)
        assert collab.hub.live_queries.entries == 0
        with pytest.raises(StorageError):
            await opened(collab, {"include": {"owner": True}})


async def test_one_who_gives_up_leaves_nothing_and_others_their_rows() -> None:
    async with running(MemoryStorage()) as collab:
        await collab.collection("tasks").create({"ownerId": "u1"}, id="t1")
        query = {"include": {"owner": True, "comments": True}}
        for ticks in range(12):
            impatient = asyncio.ensure_future(opened(collab, query))
            patient = asyncio.ensure_future(opened(collab, query)) if ticks % 2 else None
            for _ in range(ticks):
                await asyncio.sleep(0)
            impatient.cancel()
            if patient is not None:
                screen = await patient
                assert [row["id"] for row in screen.rows] == ["t1"]


async def test_a_server_that_stops_ends_them(tmp_path: Path) -> None:
    collab = Collab(Settings(collections=DECLARED), storage=MemoryStorage())
    async with collab.lifespan():
        screen = await opened(collab, {"include": {"owner": True}})
    assert isinstance(screen.error, CollabError)
    assert screen.error.retryable
